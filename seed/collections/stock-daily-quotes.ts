// stock_daily_quotes: daily prices of enough symbols to fill about 290 trading days.
import { Double } from 'bson';
import { quoteCases } from '../cases/quotes.ts';
import { hash } from '../random.ts';
import type { CollectionSeed, Document, Place } from '../shape.ts';
import { NOW, START } from '../time.ts';

const DAY = 86_400_000;
const TRADING_DAYS = 290;
const SOURCES = ['tushare', 'akshare', 'baostock'] as const;

export const stockDailyQuotes: CollectionSeed = {
  collection: 'stock_daily_quotes',
  mapping: 'stock_daily_quotes',
  batch: 1000,
  cases: quoteCases,
  document(place) {
    const document = quote(place);
    if (!place.plain && place.random.chance(0.15)) {
      Object.assign(document, {
        adjustflag: new Double(3),
        tradestatus: new Double(1),
        isST: new Double(0),
        pe: price(1234),
        pb: price(210),
      });
    }
    if (!place.plain && place.random.chance(0.05)) document['pre_close'] = null;
    return document;
  },
};

/** One row per symbol and day: all symbols of a day, then the next day. */
function quote({ index, id, random, plan }: Place): Document {
  const symbols = Math.max(20, Math.ceil(plan.count / TRADING_DAYS));
  const listing = listingOf(index % symbols);
  const date = tradingDay(Math.floor(index / symbols));
  const level = 500 + (hash(plan.seed, plan.salt, index % symbols) % 200_000);
  const open = level + random.integer(-200, 200);
  const close = level + random.integer(-200, 200);
  const before = level + random.integer(-200, 200);
  const written = new Date(Math.min(date + 9 * 3_600_000, NOW));
  return {
    _id: id,
    ...listing,
    trade_date: new Date(date).toISOString().slice(0, 10),
    period: 'daily',
    created_at: written,
    updated_at: written,
    version: 1,
    open: price(open),
    high: price(Math.max(open, close) + random.integer(0, 150)),
    low: price(Math.min(open, close) - random.integer(0, 150)),
    close: price(close),
    pre_close: price(before),
    volume: new Double(random.integer(1000, 50_000_000)),
    amount: new Double(random.integer(100_000, 2_000_000_000) / 100),
    change: price(close - before),
    pct_chg: new Double(Math.round(((close - before) / before) * 1e6) / 1e4),
  };
}

/** The symbol decides market and provider: mainland shares, with one in 20 from Hong Kong. */
function listingOf(number: number): Record<string, unknown> {
  if (number % 20 === 19) {
    const code = String(100 + number).padStart(5, '0');
    return { symbol: code, code, full_symbol: `${code.slice(1)}.HK`, market: 'HK', data_source: 'yfinance' };
  }
  const code = number % 2 === 0 ? String(600_000 + number) : String(1 + number).padStart(6, '0');
  return {
    symbol: code,
    code,
    full_symbol: `${code}.${number % 2 === 0 ? 'SH' : 'SZ'}`,
    market: 'CN',
    data_source: SOURCES[number % SOURCES.length],
  };
}

/** The n-th weekday after START. */
function tradingDay(number: number): number {
  const monday = START - ((new Date(START).getUTCDay() + 6) % 7) * DAY;
  return monday + (Math.floor(number / 5) * 7 + (number % 5)) * DAY;
}

/** Hundredths as a double; prices never leave the positive side by more than `change` does. */
function price(hundredths: number): Double {
  return new Double(hundredths / 100);
}
