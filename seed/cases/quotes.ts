// The dirt of stock_daily_quotes (cases 62-66 and what every collection has).
import { Decimal128, Double, Int32, Long } from 'bson';
import type { Dirt, DirtyCase, Document } from '../shape.ts';
import { change, loaded, marker, quarantined, remove, set } from './catalogue.ts';

const PRICES = ['open', 'high', 'low', 'close'] as const;

const prices =
  (value: unknown): Dirt =>
  (document) => {
    for (const field of PRICES) document[field] = value;
  };

const day = (document: Document): string => String(document['trade_date']);

/** The document's own day in another form. */
const dated =
  (write: (day: string) => unknown): Dirt =>
  (document) => {
    const value = day(document);
    document['trade_date'] = write(value);
    return { field: 'trade_date', value };
  };

/** The symbol and code in another form; mainland symbols only, so Hong Kong's become a reserved one. */
const symbol =
  (write: (code: string) => unknown): Dirt =>
  (document, { index }) => {
    const own = String(document['symbol']);
    const code = document['market'] === 'CN' ? own : String(920_000 + (index % 80_000));
    Object.assign(document, { market: 'CN', code, full_symbol: `${code}.SZ`, symbol: write(code) });
    return { field: 'symbol', value: code };
  };

/** The same symbol and day as a neighbour's, told apart by the provider or the period. */
const beside =
  (difference: Record<string, unknown>): Dirt =>
  (document, place) => {
    const other = place.neighbour() ?? document;
    for (const field of ['symbol', 'code', 'full_symbol', 'market', 'trade_date', 'data_source'])
      document[field] = other[field];
    Object.assign(document, difference);
  };

const suspended: Dirt = (document, place) => {
  prices(null)(document, place);
  Object.assign(document, { volume: new Double(0), amount: null, tradestatus: new Double(0) });
};

export const quoteCases: readonly DirtyCase[] = [
  loaded(17, 'prices as Decimal128', (document) => {
    for (const field of PRICES) document[field] = Decimal128.fromString((document[field] as Double).value.toFixed(2));
  }),
  loaded(24, 'unknown field', set('adj_factor', new Double(1.0375))),
  loaded(45, 'NUL in a note', set('remark', '停牌\u0000')),
  loaded(51, 'code only', (document) => {
    delete document['symbol'];
    return { field: 'symbol', value: document['code'] };
  }),
  loaded(
    52,
    'number',
    symbol((code) => new Int32(Number(code))),
  ),
  loaded(
    52,
    'prefixed',
    symbol((code) => `sz${code}`),
  ),
  loaded(
    62,
    'YYYYMMDD',
    dated((text) => text.replaceAll('-', '')),
  ),
  loaded(
    62,
    'with a time',
    dated((text) => `${text} 00:00:00`),
  ),
  loaded(
    62,
    'BSON Date',
    dated((text) => new Date(`${text}T00:00:00Z`)),
  ),
  quarantined(62, '0', 'trade_date_valid', set('trade_date', '0')),
  quarantined(
    62,
    'row number',
    'trade_date_valid',
    change('trade_date', (_, { index }) => String(index % 100_000)),
  ),
  quarantined(62, 'no such day', 'trade_date_valid', set('trade_date', '2025-02-30')),
  quarantined(62, 'null', 'trade_date_valid', set('trade_date', null)),
  quarantined(62, 'missing', 'trade_date_valid', remove('trade_date')),
  quarantined(63, 'suspended', 'prices_present', suspended),
  quarantined(63, 'close null', 'prices_present', set('close', null)),
  loaded(63, 'zero prices', prices(new Double(0))),
  quarantined(63, 'high below low', 'price_range', (document) => {
    [document['high'], document['low']] = [new Double(10), new Double(11)];
    [document['open'], document['close']] = [new Double(10.5), new Double(10.5)];
  }),
  quarantined(63, 'negative volume', 'volume_non_negative', set('volume', new Double(-100))),
  quarantined(63, 'close NaN', 'numbers_finite', set('close', new Double(NaN))),
  quarantined(63, 'volume Infinity', 'numbers_finite', set('volume', new Double(Infinity))),
  loaded(63, 'pct_chg NaN', set('pct_chg', new Double(NaN), { field: 'pct_chg', value: null })),
  loaded(63, 'pct_chg Infinity', set('pct_chg', new Double(Infinity), { field: 'pct_chg', value: null })),
  loaded(64, 'another provider', beside({ data_source: 'multi_source' })),
  loaded(64, 'weekly beside daily', beside({ period: 'weekly' })),
  loaded(65, 'fractional volume', set('volume', new Double(1234.5))),
  loaded(
    65,
    'volume above 2^32',
    set('volume', Long.fromString('30000000000'), { field: 'volume', value: '30000000000' }),
  ),
  loaded(66, 'updated_at text', set('updated_at', '2025-10-16T09:05:00.123456')),
  loaded(74, 'flag blanked', set('isST', '')),
  marker('Daily quotes'),
];
