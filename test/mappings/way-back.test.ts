// Laws of the way back, for every mapping: an untouched document keeps its bytes, a changed one says the change and keeps the rest.
import { readFileSync } from 'node:fs';
import { Decimal128, deserialize, Double, EJSON, Int32, Long, ObjectId, serialize } from 'bson';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { sourceId } from '../../core/identity.ts';
import { quarantine } from '../../core/quarantine.ts';
import { cellsOf } from '../../mappings/back/cells.ts';
import { documentOf, elementAt, elementOf, elementsOf } from '../../mappings/back/elements.ts';
import { readInstant } from '../../mappings/fields/instant.ts';
import { residual } from '../../mappings/fields/residual.ts';
import { defineMapping, type Document, type Mapping, type Outcome } from '../../mappings/mapping.ts';
import { loadMappings } from '../../mappings/registry.ts';
import { contentOf, putDocument, type Put } from '../../mappings/way-back.ts';
import { generators } from '../../seed/world.ts';
import { jsonb, table, text, timestamptz, type Row } from '../../stores/postgres/target.ts';
import { contentChanges } from '../support/changes-of-content.ts';
import { differing, keepsOrder, readBack, touched } from '../support/way-back.ts';

const mappings = await loadMappings();
const settings = { zone: 'Asia/Shanghai', providers: [] };
const decode = (bytes: Uint8Array): Document => deserialize(bytes, { promoteValues: false, promoteLongs: false });
const shown = (bytes: Uint8Array) => EJSON.stringify(decode(bytes), { relaxed: false });
const shapes = Object.entries(
  EJSON.deserialize(JSON.parse(readFileSync(new URL('../support/shapes.json', import.meta.url), 'utf8')) as Document, {
    relaxed: false,
  }) as Record<string, Document[]>,
);
const seeded = generators({ documents: 3000, dirty: 0.5, seed: 11 });
const quote = { trade_date: '2025-04-18', open: 1.5, high: 2.5, low: 1.25, close: 2.25 };

/** A field whose name is special to JavaScript alone, at the top or within another. */
const peculiar = (document: Document, within: string | undefined): Document => {
  const added = { ['__proto__']: new Date(0), constructor: 'x' };
  return {
    ...document,
    ...(within === undefined ? added : { [within]: { ...(document[within] as object), ...added } }),
  };
};

/** Every document of the seed, dirty ones too, and every example, some with peculiar fields: those that load, as bytes. */
function documentsOf(mapping: Mapping): Uint8Array[] {
  const made = seeded
    .filter((one) => one.shape.mapping === mapping.collection)
    .flatMap((one) => Array.from({ length: one.plan.count }, (_, i) => one.make(i).document));
  const examples = shapes.filter(([name]) => [mapping.collection, ...mapping.aliases].includes(name));
  const few = made.filter((_, i) => i % 40 === 0);
  const odd = [undefined, 'metadata', 'reports', 'state'].flatMap((within) => few.map((one) => peculiar(one, within)));
  return [...examples.flatMap(([, documents]) => documents), ...made, ...odd]
    .map((document) => serialize(document))
    .filter((bytes) => contentOf(mapping, bytes, settings) !== undefined);
}

const put = (mapping: Mapping, bytes: Uint8Array | undefined, content: Outcome, id = idOf(bytes!)): Put =>
  putDocument(mapping, id, bytes, content, settings);
/** Times with digits beyond the millisecond: where the field had gone meanwhile, they come as dates, and what a date cannot say is told. */
const finerThanDates = (mapping: Mapping, content: Outcome): Set<string> =>
  new Set(
    [...cellsOf(mapping, content).values()]
      .filter(({ column, value }) => column?.type === 'timestamptz' && (value as number) % 1000 !== 0)
      .map(({ name }) => name),
  );
const idOf = (bytes: Uint8Array) => sourceId(decode(bytes)['_id']);

describe.each([...mappings.values()].map((mapping) => [mapping.collection, mapping] as const))('%s', (_, mapping) => {
  const documents = documentsOf(mapping);
  const contents = new Map(documents.map((bytes) => [bytes, readBack(mapping, contentOf(mapping, bytes, settings)!)]));
  const changed = fc.record({
    bytes: fc.constantFrom(...documents),
    changes: fc.array(fc.oneof(...contentChanges[mapping.collection]!), { minLength: 1, maxLength: 3 }),
  });

  test('GetPut: an untouched document is given back, the very bytes', () => {
    expect(documents.length).toBeGreaterThan(50);
    for (const bytes of documents) expect(put(mapping, bytes, contents.get(bytes)!).bytes, shown(bytes)).toBe(bytes);
  });

  test('PutGet: a changed document says what the targets hold, and differs only there', () => {
    fc.assert(
      fc.property(changed, ({ bytes, changes }) => {
        const content = readBack(
          mapping,
          changes.reduce((before, change) => change.apply(before), contents.get(bytes)!),
        );
        const result = put(mapping, bytes, content);
        const said = `${changes.map((one) => one.what).join()}: ${shown(bytes)} -> ${shown(result.bytes)}`;
        expect(result.unsaid, said).toEqual([]);
        expect(differing(mapping, result.bytes, content, settings), said).toEqual([]);
        const allowed = new Set(changes.flatMap((one) => one.shows));
        expect(keepsOrder(bytes, result.bytes), said).toBe(true);
        if (!allowed.has('*'))
          expect(
            touched(mapping, bytes, result.bytes).filter((name) => !allowed.has(name)),
            said,
          ).toEqual([]);
      }),
      { numRuns: 800 },
    );
  });

  test('PutPut: putting the same again changes nothing, and what was there before can be put back', () => {
    fc.assert(
      fc.property(changed, ({ bytes, changes }) => {
        const content = readBack(
          mapping,
          changes.reduce((before, change) => change.apply(before), contents.get(bytes)!),
        );
        const once = put(mapping, bytes, content).bytes;
        expect(put(mapping, once, content).bytes, `${changes.map((one) => one.what).join()}: ${shown(once)}`).toBe(
          once,
        );
        const back = put(mapping, once, contents.get(bytes)!);
        const told = finerThanDates(mapping, contents.get(bytes)!);
        expect(
          back.unsaid.filter((name) => !told.has(name)),
          `${changes.map((one) => one.what).join()}: ${shown(bytes)} -> ${shown(once)}`,
        ).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('without the old document one is made that says the same', () => {
    for (const bytes of documents) {
      const result = put(mapping, undefined, contents.get(bytes)!, idOf(bytes));
      const said = `${shown(bytes)} -> ${shown(result.bytes)}`;
      expect(result.unsaid, said).toEqual([]);
      expect(differing(mapping, result.bytes, contents.get(bytes)!, settings), said).toEqual([]);
      expect(put(mapping, undefined, contents.get(bytes)!, idOf(bytes)).bytes).toEqual(result.bytes);
    }
  });
});

describe('a changed value keeps the type and the form of the one before, if that says it', () => {
  const usage = {
    _id: new ObjectId('68f9e12fc0958945793f6065'),
    timestamp: '2025-10-20 14:03:22',
    provider: 'deepseek',
    model: 'deepseek-chat',
    inputTokens: Long.fromNumber(3),
    output_tokens: new Int32(1),
    cost: new Double(0.5),
    metadata: { '600519': new Double(1), '1': { at: new Date(0) } },
  };
  const mapping = mappings.get('token_usage')!;
  const at = Date.UTC(2025, 9, 20, 6, 3, 22) * 1000;
  const date = new Date('2025-10-20T06:03:22Z');
  test.each<[string, Document, Row, Document]>([
    ['Double', {}, { cost: '0.070000000000' }, { cost: new Double(0.07) }],
    [
      'a Double cannot say it',
      {},
      { cost: '12345678.123456789012' },
      { cost: Decimal128.fromString('12345678.123456789012') },
    ],
    ['Decimal128', { cost: Decimal128.fromString('0.50') }, { cost: '0.07' }, { cost: Decimal128.fromString('0.07') }],
    ['Int32', { cost: new Int32(1) }, { cost: '2' }, { cost: new Int32(2) }],
    ['an Int32 cannot say it', { cost: new Int32(1) }, { cost: '2.5' }, { cost: new Double(2.5) }],
    ['text', { cost: '¥0.5' }, { cost: '0.07' }, { cost: '¥0.07' }],
    ['other spelling, Long', {}, { input_tokens: 4n }, { inputTokens: Long.fromNumber(4) }],
    ['beyond Int32', {}, { output_tokens: 5000000000n }, { output_tokens: Long.fromNumber(5e9) }],
    ['local text', {}, { timestamp: at + 60e6 }, { timestamp: '2025-10-20 14:04:22' }],
    ['local text, more digits', {}, { timestamp: at + 1 }, { timestamp: '2025-10-20 14:03:22.000001' }],
    [
      'text with its offset',
      { timestamp: '2025-10-20T08:03:22.5+02:00' },
      { timestamp: at },
      { timestamp: '2025-10-20T08:03:22.0+02:00' },
    ],
    ['date', { timestamp: date }, { timestamp: at + 1000 }, { timestamp: new Date(date.getTime() + 1) }],
    [
      'epoch seconds',
      { timestamp: new Int32(at / 1e6) },
      { timestamp: at + 60e6 },
      { timestamp: new Int32(at / 1e6 + 60) },
    ],
    [
      'inside metadata',
      {},
      { metadata: { '600519': 2, '1': { at: { $date: { $numberLong: '1' } } } } },
      { metadata: { '600519': new Double(2), '1': { at: new Date(1) } } },
    ],
  ])('%s', (_, given, changes, expected) => {
    const bytes = serialize({ ...usage, ...given });
    const content = { api_usage: [{ ...(contentOf(mapping, bytes, settings)!['api_usage']![0] as Row), ...changes }] };
    const result = put(mapping, bytes, content);
    expect(result.unsaid).toEqual([]);
    expect(shown(result.bytes)).toBe(shown(serialize({ ...usage, ...given, ...expected })));
  });

  test.each([1, 499, 501, 123456])('a date stays a date, rounded, and what it cannot say is told: %s us', (more) => {
    const bytes = serialize({ ...usage, timestamp: date });
    const [row] = contentOf(mapping, bytes, settings)!['api_usage'] as Row[];
    const result = put(mapping, bytes, { api_usage: [{ ...row, timestamp: at + more }] });
    const rounded = new Date(Math.round((at + more) / 1000));
    expect(shown(result.bytes)).toBe(shown(serialize({ ...usage, timestamp: rounded })));
    expect(result.unsaid).toEqual(['api_usage.timestamp']);
  });

  test('a time that was text, went and comes again is a date, as the application writes it: what that cannot say is told', () => {
    const sessions = mappings.get('sessions')!;
    const times = { created_at: '2025-09-30T06:27:39.512710', expires_at: new Date('2025-10-01T00:00:00Z') };
    const bytes = serialize({ _id: new ObjectId(), session_id: 's', ...times });
    const [row] = contentOf(sessions, bytes, settings)!['sessions'] as Row[];
    const without = put(sessions, bytes, { sessions: [{ ...row, created_at: null }] });
    expect(without.unsaid).toEqual([]);
    const back = put(sessions, without.bytes, { sessions: [row!] });
    expect(decode(back.bytes)['created_at']).toEqual(new Date('2025-09-29T22:27:39.513Z'));
    expect(back.unsaid).toEqual(['sessions.created_at']);
  });

  test('a local time that went, or was null, comes again as a local time', () => {
    const analyses = mappings.get('analysis_results')!;
    const target = analyses.targets[0]!.name;
    const at = new Date(1_756_203_300_000);
    const whole = { stock_symbol: 'AAPL', source: 'mongodb', created_at: at, updated_at: at };
    const content = contentOf(
      analyses,
      serialize({ _id: new ObjectId('68f9e12fc0958945793f612e'), ...whole }),
      settings,
    )!;
    for (const updated of [{}, { updated_at: null }]) {
      const { updated_at: _, ...others } = whole;
      const bytes = serialize({ _id: new ObjectId('68f9e12fc0958945793f612e'), ...others, ...updated });
      const result = put(analyses, bytes, { [target]: content[target]! });
      expect({ unsaid: result.unsaid, updated_at: decode(result.bytes)['updated_at'] }).toEqual({
        unsaid: [],
        updated_at: at,
      });
    }
  });

  test('a symbol that moved to another market keeps its bare digits', () => {
    const quotes = mappings.get('stock_daily_quotes')!;
    const bytes = serialize({ _id: new ObjectId(), symbol: '600014', market: 'CN', ...quote });
    const content = contentOf(quotes, bytes, settings)!;
    const row = { ...(content['market_data']![0] as Row), symbol: '00700', market: 'HK' };
    const { bytes: moved } = put(quotes, bytes, { ...content, market_data: [row] });
    expect(decode(moved)).toMatchObject({ symbol: '00700', market: 'HK' });
  });

  test('a document that has a symbol and a code has both again when it is made anew', () => {
    const quotes = mappings.get('stock_daily_quotes')!;
    const bytes = serialize({ _id: new ObjectId(), symbol: '600014', code: '600014', market: 'CN', ...quote });
    const made = put(quotes, undefined, contentOf(quotes, bytes, settings)!, idOf(bytes)).bytes;
    expect(decode(made)).toMatchObject({ symbol: '600014', code: '600014' });
  });

  test('settings that were JSON in text are JSON in text', () => {
    const users = mappings.get('subscription_users')!;
    const [username, email] = ['ann', 'ann@example.com'];
    const bytes = serialize({ _id: new ObjectId(), username, email, preferences: '{"ui_theme": "dark", "n": 1}' });
    const content = contentOf(users, bytes, settings)!;
    const configs = (content['user_configs'] as Row[]).map((row) => ({ ...row, config_data: { ui_theme: 'x', n: 2 } }));
    const { bytes: written } = put(users, bytes, { ...content, user_configs: configs });
    expect(decode(written)['preferences']).toBe('{"ui_theme": "x", "n": 2}');
  });

  test('a setting of another type keeps its name', () => {
    const metadata = mappings.get('metadata')!;
    const bytes = serialize({ _id: new ObjectId(), config_type: 'ui', config_name: 'x', config_value: 1 });
    const content = contentOf(metadata, bytes, settings)!;
    const row = { ...(content['app_metadata']![0] as Row), config_type: 'other', updated_at: 1_756_203_300_000_000 };
    const { bytes: written } = put(metadata, bytes, { ...content, app_metadata: [row] });
    expect(decode(written)).toMatchObject({ config_type: 'other', config_name: 'x', key: 'ui.x' });
  });

  test('a setting whose value went is null', () => {
    const metadata = mappings.get('metadata')!;
    for (const field of ['value', 'config_value']) {
      const bytes = serialize({ _id: new ObjectId(), config_type: 'ui', config_name: 'x', [field]: { a: 1 } });
      const content = contentOf(metadata, bytes, settings)!;
      const row = { ...(content['app_metadata']![0] as Row), value: null };
      expect(decode(put(metadata, bytes, { ...content, app_metadata: [row] }).bytes)[field]).toBeNull();
    }
  });

  test('a field that a column was read from goes, and the column says what it did', () => {
    const quotes = mappings.get('stock_daily_quotes')!;
    const { symbol: _, ...quote } = deserialize(
      documentsOf(quotes).find((bytes) => decode(bytes)['code'] !== undefined)!,
      { promoteValues: false },
    );
    for (const symbol of [{}, { symbol: null }]) {
      const bytes = serialize({ ...quote, code: '600519', ...symbol });
      const content = contentOf(quotes, bytes, settings)!;
      const [row] = content['market_data'] as readonly Row[];
      const { code: _code, ...metadata } = row!['metadata'] as Record<string, unknown>;
      const result = put(quotes, bytes, { ...content, market_data: [{ ...row, metadata }] });
      expect(result.unsaid).toEqual([]);
      expect(decode(result.bytes)).toMatchObject({ symbol: '600519' });
      expect(decode(result.bytes)['code'] ?? undefined).toBeUndefined();
    }
  });

  test('names that look like numbers stay where they were', () => {
    // { b: 1, '600519': { z: 1, '1': 2 } } in this order, which no JavaScript object has.
    const inner = documentOf([elementOf('z', new Int32(1)), elementOf('1', new Int32(2))]);
    const bytes = documentOf([
      ...elementsOf(serialize({ ...usage, metadata: undefined }, { ignoreUndefined: true })),
      {
        name: 'metadata',
        type: 3,
        value: documentOf([elementOf('b', new Int32(1)), { name: '600519', type: 3, value: inner }]),
      },
    ]);
    const [row] = contentOf(mapping, bytes, settings)!['api_usage'] as Row[];
    const metadata = { ...(row!['metadata'] as Document), '600519': { z: 1, '1': 3 } };
    const result = put(mapping, bytes, { api_usage: [{ ...row, metadata }] });
    const names = elementsOf(elementAt(result.bytes, ['metadata'])!.value).map((one) => one.name);
    expect(names).toEqual(['b', '600519']);
    expect(elementsOf(elementAt(result.bytes, ['metadata', '600519'])!.value).map((one) => one.name)).toEqual([
      'z',
      '1',
    ]);
  });

  test('what no document says is named, and the rest is written', () => {
    const users = mappings.get('subscription_users')!;
    const bytes = serialize({ _id: new ObjectId(), username: 'li', email: 'li@example.com', is_admin: true });
    const content = contentOf(users, bytes, settings)!;
    const row = { ...(content['users']![0] as Row), role: 'auditor', full_name: 'Li' };
    const result = put(users, bytes, { ...content, users: [row] });
    expect(result.unsaid).toEqual(['users.role']);
    expect(decode(result.bytes)).toMatchObject({ is_admin: true, full_name: 'Li' });
  });
});

describe('what was kept of a field, and the field itself', () => {
  const analyses = mappings.get('analysis_results')!;
  const before = (analysts: unknown): Uint8Array =>
    serialize({
      _id: new ObjectId('68f9e12fc0958945793f612e'),
      stock_symbol: 'AAPL',
      created_at: new Date(1_756_203_300_000),
      analysts,
    });

  test.each([['text'], [new Int32(3)], [new Date(0)], [{ market: true }], [null]])(
    'analysts that were %j are a list once the application has written one',
    (analysts) => {
      const bytes = before(analysts);
      const content = contentOf(analyses, bytes, settings)!;
      const target = analyses.targets[0]!.name;
      const written = { ...(content[target] as Document[])[0], analysts: ['market', 'news'] };
      const result = put(analyses, bytes, { ...content, [target]: [written] });
      expect(decode(result.bytes)['analysts']).toEqual(['market', 'news']);
    },
  );

  test('and every pair of them ends, whatever is written over whatever', () => {
    const values = ['text', '', null, new Int32(3), [], ['market'], { market: true }, {}, [{ a: [1] }]];
    const target = analyses.targets[0]!.name;
    for (const field of ['analysts', 'reports', 'state', 'decision', 'research_depth', 'confidence_score', 'status'])
      for (const first of values)
        for (const next of values) {
          const bytes = serialize({ ...deserialize(before([])), [field]: first });
          const content = contentOf(analyses, bytes, settings);
          if (!content) continue;
          const written = { ...(content[target] as Document[])[0], [field]: next };
          const result = put(analyses, bytes, { ...content, [target]: [written] });
          // What the new system holds is said, or it is told that it is not.
          if (result.unsaid.length === 0)
            expect(
              differing(analyses, result.bytes, readBack(analyses, { ...content, [target]: [written] }), settings),
            ).toEqual([]);
        }
  });
});

describe('a mapping that says nothing about its way back', () => {
  const columns = new Set(['title', 'publish_time']);
  const news = defineMapping({
    collection: 'stock_news',
    class: 'historical',
    shape: z.looseObject({ title: z.string() }),
    targets: [
      table('stock_news', {
        columns: { published_at: timestamptz({ notNull: true }), title: text({ notNull: true }), metadata: jsonb() },
      }),
    ],
    transform: (document, notes, { zone }) => ({
      stock_news: [
        {
          published_at:
            readInstant(document['publish_time'], zone)?.micros ?? quarantine('publish_time_valid', 'publish_time', ''),
          title: document['title'],
          metadata: residual(document, columns, notes),
        },
      ],
    }),
  });
  const old = {
    _id: new ObjectId(),
    title: 'old',
    publish_time: new Date(1.7e12),
    score: new Double(2),
    symbols: ['600519'],
  };

  test('finds the field of another name, and leaves the rest alone', () => {
    const bytes = serialize(old);
    const [row] = contentOf(news, bytes, settings)!['stock_news'] as Row[];
    expect(put(news, bytes, { stock_news: [row!] }).bytes).toBe(bytes);
    const metadata = { score: 2, symbols: ['600519', '000001'] };
    const result = put(news, bytes, { stock_news: [{ ...row, published_at: 1.7e15 + 1e6, title: 'new', metadata }] });
    expect(result.unsaid).toEqual([]);
    const expected = { ...old, title: 'new', publish_time: new Date(1.7e12 + 1000), symbols: ['600519', '000001'] };
    expect(shown(result.bytes)).toBe(shown(serialize(expected)));
  });

  test('says what it cannot place where there is no document', () => {
    const [row] = contentOf(news, serialize(old), settings)!['stock_news'] as Row[];
    const result = put(news, undefined, { stock_news: [row!] }, sourceId(old._id));
    expect(result.unsaid).toContain('stock_news.published_at');
  });
});

test.each([
  ['null and infinity', null, new Double(Infinity)],
  ['0 and -0', new Double(0), new Double(-0)],
  ['an integer and a double', new Int32(5), new Double(5)],
  ['a time and its text', new Date(0), '1970-01-01T00:00:00.000Z'],
  ['an id and its text', new ObjectId('68f9e12fc0958945793f612e'), '68f9e12fc0958945793f612e'],
])('two spellings that hold %s disagree: one of them would be lost', (_, first, other) => {
  const usage = mappings.get('token_usage')!;
  const { pre_close: _0, ...quote } = deserialize(documentsOf(mappings.get('stock_daily_quotes')!)[0]!);
  const bytes = serialize({ ...quote, pre_close: first, preClose: other });
  expect(contentOf(mappings.get('stock_daily_quotes')!, bytes, settings)).toBeUndefined();
  expect(
    contentOf(usage, serialize({ ...deserialize(documentsOf(usage)[0]!), a: first, b: other }), settings),
  ).toBeDefined();
});
