// A mapping drafted from a sample: what is seen has a column or is told, another spelling is no other field, and no value stands in a file.
import { Binary, Decimal128, Double, Int32, Long, ObjectId, serialize } from 'bson';
import { expect, test } from 'vitest';
import { draftOf, indexModule } from '../../assess/draft.ts';
import { nothingSeen, observe } from '../../assess/observe.ts';
import { decode } from '../../core/bson/decode.ts';

const drafted = (
  documents: readonly object[],
  { name = 'orders', all = ['orders', 'users'], indexes = [] as Parameters<typeof draftOf>[0]['indexes'] } = {},
) => {
  const root = nothingSeen();
  for (const one of documents) observe(root, decode(serialize({ _id: new ObjectId(), ...one })));
  return draftOf({ collection: name, root, indexes }, all, './language');
};
const columnOf = (document: object, name: string) =>
  new RegExp(`^ +${name}: (.*?),(?: //.*)?$`, 'm').exec(drafted([document]).text)?.[1];

test.each<[string, unknown, string]>([
  ['text', 'Anna', 'text()'],
  ['whole', new Int32(3), 'int()'],
  ['whole', Long.fromString('9007199254740993'), 'bigint()'],
  ['share', new Double(0.5), 'double()'],
  ['exact', Decimal128.fromString('12.345'), 'decimal(11, 3)'],
  ['flag', true, 'bool()'],
  ['at', new Date(0), 'instant()'],
  ['at', '2026-01-02T03:04:05+08:00', 'instant()'],
  ['at', '2026-01-02 03:04:05', `instant({ zone: 'UTC' })`],
  ['on', '2026-01-02', 'day()'],
  ['tags', ['a', 'b'], 'json()'],
  ['lines', [{ sku: 'a' }], 'json()'],
  ['user_id', new ObjectId(), `ref('users', { table: 'users' })`],
  ['ticket', new ObjectId(), 'text()'],
  ['password', 'x', 'text().secret()'],
  ['maybe', null, 'undefined'],
  ['blob', new Binary(Buffer.of(1)), 'undefined'],
])('%s that holds %o is %s', (name, value, word) => {
  expect(String(columnOf({ [name]: value }, name))).toBe(word);
});

test('a field has a column or stays in the residual, whatever it is called', () => {
  const names = [
    'id',
    'source_id',
    'metadata',
    '价格',
    'a b',
    'A-B',
    '1st',
    '__proto__',
    'x.y',
    '$set',
    "it's",
    '',
    'constructor',
  ];
  const { text, decide } = drafted([Object.fromEntries(names.map((name) => [name, 'x']))]);
  const columns = [...text.matchAll(/^ {6}(\w+): /gm)].map(([, name]) => name!);
  expect(new Set(columns).size).toBe(columns.length);
  expect(columns).toContain('metadata');
  for (const one of ['id', 'source_id', 'metadata', '价格', 'a b', 'A-B', '1st', 'constructor'])
    expect(text).toContain(`.from('${one}'`.replace(`.from('constructor'`, 'constructor: text()'));
  expect(decide.join()).toContain('a name that no path says');
});

test('what differs in spelling alone is one field; `_id` and `id` are two', () => {
  const { text, decide } = drafted([
    { input_tokens: new Int32(1) },
    { inputTokens: new Int32(2) },
    { input_tokens: new Int32(3), id: 'x' },
  ]);
  expect(text).toContain(`input_tokens: int().from('input_tokens', 'inputTokens')`);
  expect(text).toContain(`its_id: text().from('id')`);
  expect(decide.join()).toContain('inputTokens is taken for another spelling of input_tokens');
});

test('fields of a field are columns where they are the same in most; names that are data are no fields', () => {
  const address = { city: 'x', zip: 'y' };
  expect(drafted([{ address }, { address }]).text).toContain(`address_city: text().from('address.city')`);
  const byModel = Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`model_${i}`, new Int32(i)]));
  expect(columnOf({ byModel }, 'by_model')).toBe(`json().from('byModel')`);
  expect(drafted([byModel]).decide.join()).toContain('more names than a draft follows');
});

test('several types are told with their shares; slips of a form, too', () => {
  const documents = Array.from({ length: 100 }, (_, i) => ({
    cost: i < 97 ? new Double(i) : 'free',
    on: i < 99 ? '2026-01-02' : 'soon',
  }));
  const { text, decide } = drafted(documents);
  expect(text).toContain('cost: double(), // 97 % double, 3 % string');
  expect(text).toContain('on: day(),');
  expect(decide.join('\n')).toContain('on holds texts of another form, too (1 of 100)');
});

test('indexes: unique ones are rules, others indexes; those of a field without a column are left', () => {
  const indexes = [
    { keys: [['number', 1]], unique: true },
    { keys: [['state', 1]], unique: false },
    {
      keys: [
        ['state', 1],
        ['at', -1],
      ],
      unique: false,
    },
    {
      keys: [
        ['gone', 1],
        ['at', -1],
      ],
      unique: false,
    },
  ] as const;
  const { text, decide } = drafted([{ number: 'a', state: 'b', at: new Date() }], { indexes });
  expect(text).toContain('number: text().unique(),');
  expect(text).toContain('state: text().index(),');
  expect(text).toContain(`{ indexes: [['state', 'at desc']] }`);
  expect(decide.join()).toContain('number is unique');
});

test('no value stands in a draft, and what decides is told in it', () => {
  const { text, decide } = drafted([
    { name: 'Anna Secret', iban: 'DE02120300000000202051', born: '1990-05-06', pay: new Double(4711.25) },
  ]);
  for (const value of ['Anna', 'DE02', '1990', '4711']) expect(text).not.toContain(value);
  for (const one of decide) expect(text).toContain(`// DECIDE: ${one}`);
});

test('the application names every mapping', () => {
  const drafts = ['orders', 'order-lines', 'class', '2025'].map((name) => drafted([{ a: 'x' }], { name }));
  expect(indexModule(drafts)).toContain('export const application = [orders, order_lines, class_, _2025_];');
});
