// One document for each way in which JavaScript objects cannot hold BSON, as an analysis.
import { documentOf, of, type Field, type Value } from './bson-bytes.ts';

export const analysis = (id: Value, ...more: Field[]): Buffer =>
  documentOf([
    ['_id', id],
    ['stock_symbol', of.text('600519')],
    ['created_at', of.date(1_760_000_000_000n)],
    ['reports', of.object(['market_report', of.text('up')])],
    ...more,
  ]);
const far = of.date(9_000_000_000_000_001n);

/** Analyses. `rule`: under which the document is to be set aside. */
export const plantedBytes: { readonly bytes: Buffer; readonly rule?: string }[] = [
  { bytes: analysis(of.object(['b', of.int(1)], ['1', of.int(2)])) },
  { bytes: analysis(of.object(['1', of.int(2)], ['b', of.int(1)])) },
  { bytes: analysis(far) },
  { bytes: analysis(of.int(7)) },
  { bytes: analysis(of.text('long '.repeat(400))) },
  { bytes: analysis(of.date(9_000_000_000_000_002n)) },
  { bytes: analysis(of.text('far'), ['expires', far], ['7', of.int(7)]) },
  {
    bytes: analysis(of.text('order'), [
      'model',
      of.object(['z', of.int(1)], ['600519', of.object(['b', far], ['0', of.int(1)])]),
    ]),
  },
  {
    bytes: analysis(
      of.text('symbol'),
      ['tag', of.symbol('s')],
      ['ref', of.dbPointer('a.b', '507f1f77bcf86cd799439011')],
    ),
  },
  { bytes: analysis(of.text('undefined'), ['nothing', of.undefined], ['inner', of.object(['u', of.undefined])]) },
  { bytes: analysis(of.text('nan'), ['score', of.double('010000000000f8ff')], ['zero', of.number(-0)]) },
  { bytes: analysis(of.text('decimal'), ['price', of.decimalBits('ffffffffffffffffffffffffffff8f6f')]) },
  { bytes: analysis(of.text('regex'), ['pattern', of.regex('a', 'ix')]) },
  {
    bytes: analysis(of.text('time'), ['tick', of.timestamp(0, 0)], ['inner', of.object(['tick', of.timestamp(0, 0)])]),
  },
  { bytes: analysis(of.text('twice'), ['model', of.int(1)], ['model', of.int(2)]), rule: 'field_name_twice' },
  {
    bytes: analysis(of.text('deep'), ['x', of.array(of.object(['a', of.int(1)], ['a', of.int(2)]))]),
    rule: 'field_name_twice',
  },
  {
    bytes: analysis(of.text('keys'), ['list', of.keyed(['5', of.int(1)], ['x', of.int(2)])]),
    rule: 'array_keys_irregular',
  },
  {
    bytes: analysis(of.text('mark'), ['x', of.object(['_bsontype', of.text('ObjectId')])]),
    rule: 'field_name_reserved',
  },
  {
    bytes: documentOf([
      ['_id', of.text('no time')],
      ['stock_symbol', of.text('600519')],
      ['created_at', far],
    ]),
    rule: 'created_at_valid',
  },
];
