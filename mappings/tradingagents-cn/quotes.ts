// stock_daily_quotes -> PostgreSQL market_data, a hypertable on timestamp.
import { Double } from 'bson';
import { numbersLike, valuesLike } from '../back/values.ts';
import { zoneOffset } from '../fields/instant.ts';
import { isMarker } from './fields/marker.ts';
import { readNumber, roundHalfEven } from '../fields/number.ts';
import { marketLike, marketOf, readSymbol, symbolLike } from './fields/symbol.ts';
import { hypertable, mapping } from '../language/declare.ts';
import { missing, refused, value, type Codec } from '../language/codec.ts';
import { isDoubleOf } from '../language/codecs/numbers.ts';
import { textCodec } from '../language/codecs/text.ts';
import { dayCodec, dayOf } from '../language/codecs/times.ts';
import { column, derived, residual, text } from '../language/words.ts';
import type { Document } from '../mapping.ts';
import { quoteQueries } from './queries/quotes.ts';

const stockOf = (beside: Document) => {
  const field = beside['symbol'] === undefined || beside['symbol'] === null ? 'code' : 'symbol';
  return { field, read: readSymbol(beside[field], marketOf(beside['market'])) };
};

/** symbol, or code where it is missing. */
const symbol: Codec<string> = {
  name: 'symbol',
  type: 'text',
  bson: ['string'],
  keeps: 'itself',
  read(source, { beside, notes }) {
    const { field, read } = stockOf(beside);
    if (!read) return refused(`${field} is missing or no symbol`, 'symbol_known');
    if (read.symbol !== source) notes.keep('symbol', source ?? null);
    return value(read.symbol);
  },
  write: (its, old) => symbolLike(its, old),
};

/** As stated, or as the symbol tells. */
const market: Codec<string> = {
  name: 'market',
  type: 'text',
  bson: ['string'],
  keeps: 'itself',
  read(source, { beside, notes }) {
    const its = marketOf(source) ?? stockOf(beside).read!.market;
    if (its !== source) notes.keep('market', source ?? null);
    return value(its);
  },
  write: (its, old) => [...(typeof old === 'string' ? marketLike(its, old) : []), its],
};

const tradeDay: Codec<string> = {
  ...dayCodec,
  read(source) {
    const day = dayOf(source);
    const known = day !== undefined && day >= '1970-01-01' && day <= '2199-12-31';
    return known ? value(day) : refused('trade_date is missing or no day', 'trade_date_valid');
  },
  check: { rule: 'trade_date_valid', sql: (its) => `${its} >= '1970-01-01'` },
};

const period: Codec<string> = {
  ...textCodec,
  read: (source, place) => (typeof source === 'string' && source !== '' ? textCodec.read(source, place) : missing),
};

/** Exact decimal text; infinities and NaN in a price or a volume mean that the document is damaged. */
const money = (precision: number, scale: number): Codec<string> => ({
  name: `decimal(${precision}, ${scale})`,
  type: `numeric(${precision},${scale})`,
  bson: ['double'],
  keeps: 'unnatural',
  read(source, { path }) {
    const read = readNumber(source);
    if (read.is === 'missing') return missing;
    if (read.is !== 'number') return refused(`${path} is no finite number`, 'numbers_finite');
    const { text: exact } = roundHalfEven(read.text, scale);
    return exact.replace('-', '').replace(/\..*/, '').length > 14
      ? refused(`${path} is beyond any price`, 'numbers_finite')
      : value(exact);
  },
  isNatural: isDoubleOf,
  write: (its, old) =>
    valuesLike(`numeric(${precision},${scale})`, its, old, { zone: 'UTC', time: 'date', nullable: true }),
});

const volume: Codec<number> = {
  name: 'volume',
  type: 'bigint',
  bson: ['double'],
  keeps: 'unnatural',
  read(source, { notes }) {
    const read = readNumber(source);
    if (read.is === 'missing') return missing;
    if (read.is !== 'number' || Math.abs(Number(read.text)) > Number.MAX_SAFE_INTEGER)
      return refused('volume is no finite number', 'numbers_finite');
    const exact = Number(read.text);
    if (exact < 0) return refused('volume is negative', 'volume_non_negative');
    if (Math.round(exact) !== exact) notes.warn('volume_rounded');
    return value(Math.round(exact));
  },
  isNatural: (source, its) => source instanceof Double && Object.is(source.value, its),
  write: (its, old) => [
    ...(old === undefined ? [new Double(Number(its))] : []),
    ...valuesLike('bigint', its, old, { zone: 'UTC', time: 'date', nullable: true }),
  ],
};

/** A ratio that is NaN or infinite says nothing. */
const finite: Codec<number> = {
  name: 'double',
  type: 'double precision',
  bson: ['double'],
  keeps: 'unnatural',
  read(source, { notes }) {
    const read = readNumber(source);
    if (read.is === 'number' && Number.isFinite(Number(read.text))) return value(Number(read.text));
    if (read.is !== 'missing') notes.warn('not_finite_to_null');
    return missing;
  },
  isNatural: (source, its) => source instanceof Double && Object.is(source.value, its),
  write: (its, old) => [...numbersLike(String(its), old), new Double(its)],
};

const zones: Readonly<Record<string, string>> = { CN: 'Asia/Shanghai', HK: 'Asia/Shanghai', US: 'America/New_York' };

/** Midnight of the day, where the market is. */
function midnightOf(day: string, its: string): number {
  const midnight = Date.UTC(Number(day.slice(0, 4)), Number(day.slice(5, 7)) - 1, Number(day.slice(8)));
  return (midnight - zoneOffset(zones[its]!, midnight) * 60_000) * 1000;
}

const price = () => column(money(20, 6)).required('prices_present').nullable();
const ratio = () => column(finite).nullable();

export const marketData = hypertable(
  'market_data',
  {
    symbol: column(symbol).required('symbol_known').or('code').with('code', 'market'),
    market: column(market).required('symbol_known').with('symbol', 'code').public(),
    trade_date: column(tradeDay).required('trade_date_valid').from('trade_date', 'tradeDate'),
    timestamp: derived({ type: 'timestamptz' }, ['trade_date', 'market'], midnightOf),
    period: column(period).orElse('daily').lenient().public(),
    data_source: text().from('data_source', 'dataSource'),
    open: price(),
    high: price(),
    low: price(),
    close: price(),
    pre_close: column(money(20, 6)).from('pre_close', 'preClose').nullable(),
    volume: column(volume).atLeast(0, 'volume_non_negative').nullable(),
    amount: column(money(26, 4)).nullable(),
    change: ratio(),
    pct_chg: ratio().from('pct_chg', 'pctChg'),
    turnover_rate: ratio(),
    volume_ratio: ratio(),
    pe: ratio(),
    pb: ratio(),
    ps: ratio(),
    metadata: residual({
      spread: 'metadata',
      known: { full_symbol: ['string'], created_at: ['date'], updated_at: ['date'], version: ['int', 'long'] },
    }),
  },
  {
    time: 'timestamp',
    indexes: [['symbol', 'timestamp desc'], ['timestamp desc']],
    lifecycle: { compressAfter: '7 days', retainFor: '2 years', segmentBy: 'symbol' },
    rules: [
      {
        name: 'price_range',
        path: 'high',
        or: 'quarantine',
        holds: (row) => Number(row.high) >= Number(row.low),
        sql: 'select count(*) from market_data where high < low',
      },
      { name: 'price_zero', or: 'warn', holds: (row) => Number(row.close) !== 0 },
    ],
  },
);

export default mapping('stock_daily_quotes', {
  class: 'historical',
  to: marketData,
  skip: isMarker,
  accessPatterns: [
    'chart: symbol=, period=, data_source=, trade_date range; sort trade_date',
    'last day of a symbol: symbol=, timestamp > now - 1 day',
  ],
  mainRead: { by: ['symbol', 'symbol'], newest: ['trade_date', 'timestamp'] },
  queries: quoteQueries,
});
