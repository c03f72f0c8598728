// What the application asks of its daily quotes.
import type { Outcome } from '../../mapping.ts';
import { find, sql, type ApplicationQuery } from '../../query.ts';

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

export const quoteQueries: readonly ApplicationQuery[] = [
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
];
