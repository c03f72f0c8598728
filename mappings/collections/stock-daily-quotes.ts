// stock_daily_quotes -> PostgreSQL market_data, a hypertable on timestamp.
import { z } from 'zod';
import { quarantine } from '../../core/quarantine.ts';
import { bigint, date, double, hypertable, jsonb, numeric, text, timestamptz } from '../../stores/postgres/target.ts';
import { zoneOffset } from '../fields/instant.ts';
import { isMarker } from '../fields/marker.ts';
import { readNumber, roundHalfEven } from '../fields/number.ts';
import { residual } from '../fields/residual.ts';
import { marketLike, marketOf, readSymbol, symbolLike, type Symbol } from '../fields/symbol.ts';
import { cleanText, optionalText } from '../fields/text.ts';
import { defineMapping, type Document, type Outcome } from '../mapping.ts';
import { find, sql } from '../query.ts';
import type { Notes } from '../notes.ts';
import { as } from '../shape.ts';

const prices = ['open', 'high', 'low', 'close'] as const;
const ratios = ['change', 'pct_chg', 'turnover_rate', 'volume_ratio', 'pe', 'pb', 'ps'] as const;
const columns = new Set<string>([
  ...prices,
  ...ratios,
  'symbol',
  'market',
  'trade_date',
  'period',
  'data_source',
  'pre_close',
  'volume',
  'amount',
]);
const zones: Record<Symbol['market'], string> = { CN: 'Asia/Shanghai', HK: 'Asia/Shanghai', US: 'America/New_York' };

export default defineMapping({
  collection: 'stock_daily_quotes',
  class: 'historical',
  shape: z.looseObject({
    _id: as.any,
    symbol: as.text,
    code: as.text.optional(),
    full_symbol: as.text.optional(),
    market: as.text,
    trade_date: as.text,
    period: as.text,
    data_source: as.text,
    ...Object.fromEntries(
      [...prices, ...ratios, 'pre_close', 'volume', 'amount'].map((field) => [field, as.number.nullish()]),
    ),
    created_at: as.date.optional(),
    updated_at: as.date.optional(),
    version: as.integer.optional(),
  }),
  otherNames: { tradeDate: 'trade_date', dataSource: 'data_source', preClose: 'pre_close', pctChg: 'pct_chg' },
  targets: [
    hypertable('market_data', {
      time: 'timestamp',
      columns: {
        timestamp: timestamptz({ notNull: true }),
        trade_date: date({ notNull: true }),
        symbol: text({ notNull: true }),
        market: text({ notNull: true }),
        period: text({ notNull: true }),
        data_source: text(),
        open: numeric(20, 6, { notNull: true }),
        high: numeric(20, 6, { notNull: true }),
        low: numeric(20, 6, { notNull: true }),
        close: numeric(20, 6, { notNull: true }),
        pre_close: numeric(20, 6),
        volume: bigint(),
        amount: numeric(26, 4),
        ...Object.fromEntries(ratios.map((ratio) => [ratio, double()])),
        metadata: jsonb(),
      },
      indexes: [['symbol', 'timestamp desc'], ['timestamp desc']],
      lifecycle: { compressAfter: '7 days', retainFor: '2 years', segmentBy: 'symbol' },
    }),
  ],
  skip: isMarker,
  transform(document, notes) {
    const { symbol, market } = readStock(document, notes);
    const day = readDay(document['trade_date'], notes);
    const [open, high, low, close] = prices.map((field) => price(document, field, notes)) as [
      string,
      string,
      string,
      string,
    ];
    if (Number(high) < Number(low)) quarantine('price_range', 'high', 'high lies below low');
    if (Number(close) === 0) notes.warn('price_zero');
    const midnight = Date.UTC(Number(day.slice(0, 4)), Number(day.slice(5, 7)) - 1, Number(day.slice(8)));
    const row = {
      timestamp: (midnight - zoneOffset(zones[market], midnight) * 60_000) * 1000,
      trade_date: day,
      symbol,
      market,
      period: readPeriod(document['period'], notes),
      data_source: optionalText(document['data_source'], 'data_source', notes),
      open,
      high,
      low,
      close,
      pre_close: decimal(document, 'pre_close', 6, notes),
      volume: readVolume(document['volume'], notes),
      amount: decimal(document, 'amount', 4, notes),
      ...Object.fromEntries(ratios.map((ratio) => [ratio, finite(document[ratio], ratio, notes)])),
    };
    return { market_data: [{ ...row, metadata: residual(document, columns, notes) }] };
  },
  back: {
    fields: { timestamp: [], symbol: ['symbol', 'code'], market: ['market'] },
    values: {
      symbol: symbolLike,
      market: (market, old) => [...(typeof old === 'string' ? marketLike(market, old) : []), market],
    },
  },
  rules: [
    { name: 'price_range', sql: 'select count(*) from market_data where high < low' },
    { name: 'volume_non_negative', sql: 'select count(*) from market_data where volume < 0' },
    { name: 'prices_present', sql: `select count(*) from market_data where 'NaN' in (open, high, low, close)` },
    { name: 'trade_date_valid', sql: `select count(*) from market_data where trade_date < '1970-01-01'` },
  ],
  values: [
    { table: 'market_data', column: 'metadata', json: ['object'] },
    { table: 'market_data', column: 'timestamp', min: '1969-12-31T00:00:00Z', max: '2200-01-01T00:00:00Z' },
  ],
  accessPatterns: [
    'chart: symbol=, period=, data_source=, trade_date range; sort trade_date',
    'last day of a symbol: symbol=, timestamp > now - 1 day',
  ],
  mainRead: { by: ['symbol', 'symbol'], newest: ['trade_date', 'timestamp'] },
  queries: [
    {
      name: 'recent_market_data',
      asks: 'the last day of a symbol: symbol=, timestamp > then - 1 day',
      expectedMs: 50,
      weight: 4,
      index: { target: 'market_data', keys: ['symbol', 'timestamp desc'] },
      ask(document, outcome) {
        const { symbol, timestamp, trade_date: day } = quoteOf(outcome);
        if (document['trade_date'] !== day) return undefined;
        return {
          old: find({ symbol: document['symbol'], trade_date: { $gte: dayBefore(day, 1), $lte: day } }),
          new: sql(
            `select * from market_data where symbol = $1 and "timestamp" > $2::timestamptz - interval '1 day' and "timestamp" <= $2`,
            symbol,
            new Date(timestamp / 1000).toISOString(),
          ),
        };
      },
    },
    {
      name: 'klines',
      asks: 'a chart of 120 days: symbol=, period=, data_source=, trade_date range; sort trade_date',
      index: { target: 'market_data', keys: ['symbol', 'timestamp desc'] },
      ask(document, outcome) {
        const { symbol, period, data_source: source, timestamp, trade_date: day } = quoteOf(outcome);
        if (document['trade_date'] !== day) return undefined;
        const { symbol: oldSymbol, period: oldPeriod, data_source: oldSource } = document;
        const range = { $gte: dayBefore(day, 120), $lte: day };
        return {
          old: find(
            { symbol: oldSymbol, period: oldPeriod, data_source: oldSource, trade_date: range },
            { sort: { trade_date: 1 } },
          ),
          new: sql(
            `select "timestamp", open, high, low, close, volume from market_data where symbol = $1 and period = $2 and data_source is not distinct from $3
               and "timestamp" between $4::timestamptz - interval '120 days' and $4 order by "timestamp"`,
            symbol,
            period,
            source,
            new Date(timestamp / 1000).toISOString(),
          ),
        };
      },
    },
    {
      name: 'newest_quote',
      asks: 'whether quotes are stale: sort trade_date desc, limit 1',
      weight: 0.1,
      index: { target: 'market_data', keys: ['timestamp desc'] },
      ask: () => ({
        old: find({}, { sort: { trade_date: -1 }, limit: 1 }),
        new: sql('select * from market_data order by "timestamp" desc limit 1'),
      }),
    },
  ],
});

const quoteOf = (outcome: Outcome) =>
  outcome['market_data']![0] as {
    symbol: string;
    timestamp: number;
    trade_date: string;
    period: string;
    data_source: string | null;
  };
const dayBefore = (day: string, days: number): string =>
  new Date(Date.parse(`${day}T00:00:00Z`) - days * 86_400_000).toISOString().slice(0, 10);

/** symbol, or code where it is missing; the market as stated, or as the symbol tells. */
function readStock(document: Document, notes: Notes): Symbol {
  const field = document['symbol'] === undefined || document['symbol'] === null ? 'code' : 'symbol';
  const stated = marketOf(document['market']);
  const read = readSymbol(document[field], stated);
  if (!read) quarantine('symbol_known', field, `${field} is missing or no symbol`);
  if (field === 'code' || read.symbol !== document['symbol']) notes.keep('symbol', document['symbol'] ?? null);
  const market = stated ?? read.market;
  if (market !== document['market']) notes.keep('market', document['market'] ?? null);
  return { symbol: read.symbol, market };
}

/** `2025-10-16`, `20251016`, either with a time behind, or a BSON date. Row numbers and other garbage are refused. */
function readDay(value: unknown, notes: Notes): string {
  const text = value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : value;
  const found = typeof text === 'string' ? /^\s*(\d{4})-?(\d{2})-?(\d{2})(?:[T ].*)?\s*$/.exec(text) : null;
  const day = found ? `${found[1]}-${found[2]}-${found[3]}` : '';
  const time = Date.parse(`${day}T00:00:00Z`);
  if (
    !found ||
    Number.isNaN(time) ||
    new Date(time).toISOString().slice(0, 10) !== day ||
    time < 0 ||
    found[1]! > '2199'
  ) {
    quarantine('trade_date_valid', 'trade_date', 'trade_date is missing or no day');
  }
  if (day !== value) notes.keep('trade_date', value);
  return day;
}

function readPeriod(value: unknown, notes: Notes): string {
  if (typeof value === 'string' && value !== '') return cleanText(value, 'period', notes);
  if (value !== undefined) notes.keep('period', value);
  return 'daily';
}

function price(document: Document, field: string, notes: Notes): string {
  const read = decimal(document, field, 6, notes);
  if (read === null) quarantine('prices_present', field, `${field} is missing: the stock was suspended`);
  return read;
}

/** Exact decimal text; infinities and NaN in a price or a volume mean the document is damaged. */
function decimal(document: Document, field: string, scale: number, notes: Notes): string | null {
  const value = document[field];
  if (value === undefined) return null;
  const read = readNumber(value);
  if (read.is === 'missing') {
    notes.keep(field, value);
    return null;
  }
  if (read.is !== 'number') quarantine('numbers_finite', field, `${field} is no finite number`);
  const { text: exact, exact: same } = roundHalfEven(read.text, scale);
  if (exact.replace('-', '').replace(/\..*/, '').length > 14)
    quarantine('numbers_finite', field, `${field} is beyond any price`);
  if (!same || !read.plain) notes.keep(field, value);
  return exact;
}

function readVolume(value: unknown, notes: Notes): number | null {
  if (value === undefined) return null;
  const read = readNumber(value);
  if (read.is === 'missing') {
    notes.keep('volume', value);
    return null;
  }
  if (read.is !== 'number' || Math.abs(Number(read.text)) > Number.MAX_SAFE_INTEGER)
    quarantine('numbers_finite', 'volume', 'volume is no finite number');
  const volume = Math.round(Number(read.text));
  if (Number(read.text) < 0) quarantine('volume_non_negative', 'volume', 'volume is negative');
  if (volume !== Number(read.text)) notes.warn('volume_rounded');
  if (volume !== Number(read.text) || !read.plain) notes.keep('volume', value);
  return volume;
}

/** A ratio that is NaN or infinite says nothing: null, the original kept. */
function finite(value: unknown, field: string, notes: Notes): number | null {
  if (value === undefined) return null;
  const read = readNumber(value);
  if (read.is !== 'number' || !read.plain) notes.keep(field, value);
  if (read.is === 'number' && Number.isFinite(Number(read.text))) return Number(read.text);
  if (read.is !== 'missing') notes.warn('not_finite_to_null');
  return null;
}
