// Changes that an application of the new system may make to what it holds of one document: every column of every table, children, metadata, parts.
import { Double, Int32, ObjectId } from 'bson';
import fc from 'fast-check';
import { zoneOffset } from '../../mappings/fields/instant.ts';
import type { Document, Outcome } from '../../mappings/mapping.ts';
import { Parent, type Row } from '../../stores/postgres/target.ts';

/** A change, and the fields of the old document (by their first names) that it may show in. */
export interface ContentChange {
  readonly what: string;
  readonly shows: readonly string[];
  apply(content: Outcome): Outcome;
}

const word = fc
  .oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }),
    fc.constantFrom('新', 'x y', "o'k", '12', 'admin'),
  )
  .map((text) => text.replaceAll('\u0000', 'x'));
const orNull = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary }, { weight: 1, arbitrary: fc.constant(null) });
/** Whole milliseconds: a date of the old system says no more. */
const micros = fc.oneof(
  fc.integer({ min: 1.5e12, max: 1.9e12 }).map((millis) => millis * 1000),
  fc.integer({ min: 1.5e9, max: 1.9e9 }).map((seconds) => seconds * 1e6),
  fc.integer({ min: 1.5e9, max: 1.9e9 }).map((seconds) => seconds * 1e6),
);
const decimal = (whole: number, scale: number) =>
  fc
    .tuple(fc.nat(10 ** whole - 1), fc.nat(10 ** Math.min(scale, 9) - 1), fc.nat(scale))
    .map(([before, after, digits]) =>
      digits === 0 ? `${before}` : `${before}.${String(after).padStart(9, '0').slice(-digits)}`,
    );
const count = fc.oneof(fc.nat(5000), fc.integer({ min: 0, max: 2 ** 40 })).map(BigInt);
const double = fc
  .oneof(fc.integer({ min: -500, max: 500 }), fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }))
  .map((value) => value + 0);
const json = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    word,
    double,
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('any'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', '600519', '1', 'x.y'), tie('any'), { maxKeys: 3 }),
  ),
})).any;
const owner = orNull(
  fc.oneof(
    fc
      .uint8Array({ minLength: 12, maxLength: 12 })
      .map((bytes) => new Parent('users', 7n, { source_id: new ObjectId(bytes).toHexString(), username: 'li' })),
    word.map((name) => new Parent('users', 8n, { source_id: JSON.stringify(`id ${name.trim()}.`), username: name })),
  ),
);

/** One row of a table with other values. */
const row = (
  target: string,
  what: string,
  shows: readonly string[],
  values: fc.Arbitrary<Row>,
): fc.Arbitrary<ContentChange> =>
  values.map((its) => ({
    what: `${target}.${what}`,
    shows,
    apply: (content) => ({
      ...content,
      [target]: (content[target] as readonly Row[]).map((one) => ({ ...one, ...its })),
    }),
  }));
const column = (target: string, name: string, values: fc.Arbitrary<unknown>, ...shows: string[]) =>
  row(
    target,
    name,
    shows.length > 0 ? shows : [name],
    values.map((value) => ({ [name]: value })),
  );

/** A key of metadata that is new, changed or gone. */
const kept = (target: string, ...keys: string[]): fc.Arbitrary<ContentChange> =>
  fc
    .tuple(fc.constantFrom('note', 'retry', 'stock_code', ...keys), fc.option(json, { nil: undefined }), fc.boolean())
    .map(([fixed, value, first]) => ({
      what: `${target}.metadata`,
      shows: ['*'],
      apply(content) {
        const [one] = content[target] as readonly Row[];
        const metadata = (one!['metadata'] ?? {}) as Record<string, unknown>;
        const there = Object.keys(metadata).filter(
          (key) => !key.startsWith('_') && key !== 'is_test' && key !== 'estimated',
        );
        const { [first && there.length > 0 ? there[0]! : fixed]: _, ...others } = metadata;
        const key = first && there.length > 0 ? there[0]! : fixed;
        return {
          ...content,
          [target]: [{ ...one, metadata: value === undefined ? others : { ...others, [key]: value } }],
        };
      },
    }));

const config = fc
  .tuple(
    fc.constantFrom('preferences', 'watchlist', 'alert_settings', 'favorite_stocks'),
    fc.integer({ min: 1, max: 5 }),
    json,
    word,
    fc.constantFrom('set', 'add', 'remove'),
  )
  .map(([type, depth, value, symbol, how]): ContentChange => ({
    what: `user_configs.${type}`,
    shows: [type],
    apply(content) {
      const rows = content['user_configs'] as readonly Row[];
      const old = rows.find((one) => one['config_type'] === type)?.['config_data'];
      const others = rows.filter((one) => one['config_type'] !== type);
      if (how === 'remove') return { ...content, user_configs: others };
      const entry =
        type === 'watchlist'
          ? { symbol, ...(depth > 3 && { value }), ...(depth === 5 && { note: value }) }
          : { code: symbol, value };
      const list = type === 'watchlist' || type === 'favorite_stocks';
      const added = list
        ? [
            ...(how === 'add' && Array.isArray(old)
              ? (old as unknown[]).filter((one) => (one as { symbol?: string })?.symbol !== symbol)
              : []),
            entry,
          ]
        : {
            ...(how === 'add' && !Array.isArray(old) && (old as object)),
            ...(type === 'preferences' && { default_depth: depth }),
            [symbol]: value,
          };
      return { ...content, user_configs: [...others, { config_type: type, config_data: added }] };
    },
  }));

const keyOf = (text: string) => text.normalize('NFKC').trim().toLowerCase().normalize('NFKC');
const named = word.filter((text) => keyOf(text) !== '');
const hex = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const counters = ['daily_quota', 'concurrent_limit', 'total_analyses', 'successful_analyses', 'failed_analyses'];
const day = fc.integer({ min: 0, max: 20000 }).map((days) => new Date(days * 86_400_000).toISOString().slice(0, 10));
const stock = fc.constantFrom(['000001', 'CN'], ['600519', 'CN'], ['00700', 'HK'], ['AAPL', 'US'], ['BRK.B', 'US']);
const midnight = (its: string, market: string) => {
  const utc = Date.parse(`${its}T00:00:00Z`);
  return (utc - zoneOffset(market === 'US' ? 'America/New_York' : 'Asia/Shanghai', utc) * 60_000) * 1000;
};
const quoted = fc
  .tuple(day, stock)
  .map(([its, [symbol, market]]) => ({ trade_date: its, symbol, market, timestamp: midnight(its, market!) }));
const prices = fc.array(decimal(5, 6), { minLength: 4, maxLength: 4 }).map((four) => {
  const [low, open, close, high] = four.sort((a, b) => Number(a) - Number(b));
  return { low, open, close, high };
});

const analysis = 'analysis_results_optimized';
const optimised = (
  what: string,
  shows: readonly string[],
  change: fc.Arbitrary<(document: Document) => Document>,
): fc.Arbitrary<ContentChange> =>
  change.map((its) => ({
    what: `${analysis}.${what}`,
    shows,
    apply: (content) => ({ ...content, [analysis]: [its(content[analysis]![0] as Document)] }),
  }));
const set = (name: string, values: fc.Arbitrary<unknown>, ...shows: string[]) =>
  optimised(
    name,
    shows.length > 0 ? shows : [name],
    values.map(
      (value) =>
        ({ [name]: _, ...others }: Document) =>
          value === null ? others : { ...others, [name]: value },
    ),
  );
const inner = (name: string, values: fc.Arbitrary<unknown>) =>
  optimised(
    `decision.${name}`,
    ['decision'],
    values.map((value) => (document: Document) => {
      const { [name]: _, ...others } = (document['decision'] ?? {}) as Document;
      return { ...document, decision: value === null ? others : { ...others, [name]: value } };
    }),
  );
const confidence = orNull(
  fc
    .oneof(
      fc.integer({ min: 0, max: 100 }).map((percent) => percent / 100),
      fc.double({ min: 0, max: 1, noNaN: true }),
    )
    .map((value) => new Double(value)),
);
const sections = fc
  .tuple(
    fc.nat(5),
    word,
    fc.constantFrom('market_report', 'state.market_report', 'state.new', 'fresh', 'report'),
    fc.constantFrom('change', 'add', 'remove'),
  )
  .map(([index, content, name, how]) => (document: Document): Document => {
    const list = document['sections'] as readonly { name: string; content: string }[];
    const at = list.length === 0 ? -1 : index % list.length;
    if (how === 'remove') return { ...document, sections: list.filter((_, i) => i !== at) };
    if (how === 'change' && at >= 0)
      return { ...document, sections: list.map((one, i) => (i === at ? { ...one, content } : one)) };
    return { ...document, sections: list.some((one) => one.name === name) ? list : [...list, { name, content }] };
  });
const millis = micros.map((at) => new Date(Math.floor(at / 1000)));
const texts = [
  'analysis_type',
  'analysis_id',
  'task_id',
  'session_id',
  'summary',
  'recommendation',
  'risk_level',
  'stock_name',
  'model_info',
  'sector',
];
const symbolFields = ['symbol', 'stock_symbol', 'stock_code', 'code', 'ticker'];

/** By mapping. */
export const contentChanges: Record<string, readonly fc.Arbitrary<ContentChange>[]> = {
  token_usage: [
    column('api_usage', 'timestamp', micros),
    column('api_usage', 'provider', fc.constantFrom('openai', 'dashscope', 'deepseek', 'test')),
    column('api_usage', 'model_name', orNull(word)),
    column('api_usage', 'input_tokens', count),
    column('api_usage', 'output_tokens', count),
    column('api_usage', 'cost', decimal(8, 12)),
    column('api_usage', 'currency', fc.constantFrom('CNY', 'USD', 'EUR')),
    column('api_usage', 'session_id', orNull(word)),
    column('api_usage', 'user_id', owner),
    column('api_usage', 'analysis_type', orNull(word)),
    kept('api_usage', 'cost', '_created_at'),
  ],
  subscription_users: [
    row(
      'users',
      'username',
      ['username'],
      named.map((username) => ({ username, username_key: keyOf(username) })),
    ),
    row(
      'users',
      'email',
      ['email'],
      fc.constantFrom('a@b.cn', 'New.One@Example.com').map((email) => ({ email, email_key: keyOf(email) })),
    ),
    row(
      'users',
      'password',
      ['hashed_password'],
      hex.map((hash) => ({ password_hash: hash, password_scheme: 'sha256' })),
    ),
    column('users', 'full_name', orNull(word)),
    column('users', 'role', fc.constantFrom('admin', 'user'), 'is_admin'),
    column('users', 'is_active', fc.boolean()),
    column('users', 'is_verified', orNull(fc.boolean())),
    ...['created_at', 'updated_at', 'last_login'].map((name) => column('users', name, orNull(micros))),
    ...counters.map((name) => column('users', name, orNull(fc.integer({ min: -5, max: 2 ** 31 - 1 })))),
    kept('users', 'email'),
    config,
    config,
  ],
  sessions: [
    column('sessions', 'session_id', named),
    column('sessions', 'user_id', owner),
    column('sessions', 'status', orNull(word)),
    column('sessions', 'created_at', orNull(micros), 'created_at', 'expires_at'),
    column('sessions', 'expires_at', micros),
    column('sessions', 'last_activity', orNull(micros), 'last_activity', 'expires_at'),
    column('sessions', 'ip_address', orNull(word)),
    column('sessions', 'user_agent', orNull(word)),
    column('sessions', 'data', json),
    kept('sessions', 'analysis_id'),
  ],
  metadata: [
    column('app_metadata', 'key', named, 'key', 'config_name', 'category'),
    column('app_metadata', 'category', named),
    column('app_metadata', 'value', json, 'value', 'config_value'),
    column('app_metadata', 'description', orNull(word)),
    column('app_metadata', 'config_type', orNull(named), 'config_type', 'category', 'key', 'config_name'),
    column('app_metadata', 'created_at', orNull(micros)),
    column('app_metadata', 'updated_at', orNull(micros)),
    kept('app_metadata', 'author'),
  ],
  stock_daily_quotes: [
    row('market_data', 'symbol', ['symbol', 'market', 'trade_date', 'code'], quoted),
    row('market_data', 'prices', ['open', 'high', 'low', 'close'], prices),
    column('market_data', 'pre_close', orNull(decimal(5, 6))),
    column('market_data', 'volume', orNull(count)),
    column('market_data', 'amount', orNull(decimal(9, 4))),
    ...['change', 'pct_chg', 'turnover_rate', 'volume_ratio', 'pe', 'pb', 'ps'].map((name) =>
      column('market_data', name, orNull(double)),
    ),
    column('market_data', 'period', named),
    column('market_data', 'data_source', orNull(word)),
    kept('market_data', 'full_symbol', 'version'),
  ],
  analysis_results: [
    optimised(
      'symbol',
      [...symbolFields, 'market_type'],
      stock.map(([symbol, market]) => (document: Document) => ({ ...document, symbol, market })),
    ),
    ...texts.map((name) => set(name, orNull(word))),
    set('user_id', orNull(word)),
    set('status', orNull(fc.constantFrom('completed', 'failed', 'processing', '新'))),
    set('created_at', millis, 'created_at', 'timestamp'),
    set('updated_at', orNull(millis)),
    set('research_depth', orNull(fc.integer({ min: 1, max: 5 }).map((depth) => new Int32(depth)))),
    set('confidence_score', confidence),
    inner('action', orNull(fc.constantFrom('strong_buy', 'buy', 'hold', 'sell', 'strong_sell'))),
    inner('confidence', confidence),
    inner('risk_score', orNull(double.map((value) => new Double(value)))),
    inner('target_price', orNull(double.map((value) => new Double(value)))),
    inner('reasoning', orNull(word)),
    set('analysts', orNull(fc.array(word, { maxLength: 3 }))),
    optimised('sections', ['reports', 'state'], sections),
    optimised('sections', ['reports', 'state'], sections),
    optimised(
      'residual',
      ['*'],
      fc.tuple(fc.constantFrom('llm_provider', 'rating'), orNull(word)).map(([name, value]) => (document: Document) => {
        const { [name]: _, ...others } = (document['residual'] ?? {}) as Document;
        const { residual: __, ...rest } = document;
        const residual = value === null ? others : { ...others, [name]: value };
        return Object.keys(residual).length > 0 ? { ...rest, residual } : rest;
      }),
    ),
  ],
};
