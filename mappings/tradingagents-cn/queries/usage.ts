// What the application asks of its usage records. Statistics go by the day in Shanghai, as the application counts.
import type { Outcome } from '../../mapping.ts';
import { aggregate, find, sql, type ApplicationQuery } from '../../query.ts';

interface UsageRow {
  readonly timestamp: number;
  readonly provider: string;
  readonly model_name: string | null;
  readonly session_id: string | null;
}

const days = 86_400e6;
/** As the application of today writes a moment; its texts sort as the moments do. */
const isoLocal = (micros: number): string =>
  `${new Date(micros / 1000 + 8 * 3_600_000).toISOString().slice(0, 23)}000+08:00`;
const instantText = (micros: number): string => new Date(micros / 1000).toISOString();
const usageRow = (outcome: Outcome) => outcome['api_usage']![0] as unknown as UsageRow;

export const usageQueries: readonly ApplicationQuery[] = [
  {
    name: 'usage_list',
    asks: 'provider=, model_name=, timestamp range; sort timestamp desc; limit 100',
    index: { target: 'api_usage', keys: ['provider', 'timestamp desc'] },
    ask(document, outcome) {
      const row = usageRow(outcome);
      const range = { $gte: isoLocal(row.timestamp - 30 * days), $lte: isoLocal(row.timestamp) };
      return {
        old: find(
          { provider: document['provider'], model_name: document['model_name'], timestamp: range },
          { sort: { timestamp: -1 }, limit: 100 },
        ),
        new: sql(
          `select * from api_usage where provider = $1 and model_name is not distinct from $2 and "timestamp" between $3 and $4 order by "timestamp" desc limit 100`,
          row.provider,
          row.model_name,
          instantText(row.timestamp - 30 * days),
          instantText(row.timestamp),
        ),
      };
    },
  },
  {
    name: 'usage_statistics',
    asks: 'cost, tokens and calls of 7 days by provider, local day and currency',
    weight: 0.05,
    index: { target: 'api_usage', keys: ['timestamp desc'] },
    ask(_, outcome) {
      const { timestamp } = usageRow(outcome);
      const by = { provider: '$provider', currency: '$currency', day: { $substrBytes: ['$timestamp', 0, 10] } };
      const sums = { cost: { $sum: '$cost' }, input: { $sum: '$input_tokens' }, output: { $sum: '$output_tokens' } };
      return {
        old: aggregate([
          { $match: { timestamp: { $gte: isoLocal(timestamp - 7 * days), $lte: isoLocal(timestamp) } } },
          { $group: { _id: by, calls: { $sum: 1 }, ...sums } },
        ]),
        new: sql(
          `select provider, currency, ("timestamp" at time zone 'Asia/Shanghai')::date as day, count(*), sum(cost), sum(input_tokens), sum(output_tokens)
             from api_usage where "timestamp" between $1 and $2 group by 1, 2, 3`,
          instantText(timestamp - 7 * days),
          instantText(timestamp),
        ),
      };
    },
  },
  {
    name: 'session_cost',
    asks: 'cost of one session: session_id=',
    index: { target: 'api_usage', keys: ['session_id'] },
    ask(document, outcome) {
      const { session_id: session } = usageRow(outcome);
      if (session === null) return undefined;
      return {
        old: aggregate([
          { $match: { session_id: document['session_id'] } },
          { $group: { _id: '$currency', cost: { $sum: '$cost' } } },
        ]),
        new: sql('select currency, sum(cost) from api_usage where session_id = $1 group by 1', session),
      };
    },
  },
  {
    name: 'daily_budget',
    asks: 'cost of the last day by currency, before every insert',
    index: { target: 'api_usage', keys: ['timestamp desc'] },
    ask(_, outcome) {
      const { timestamp } = usageRow(outcome);
      return {
        old: aggregate([
          { $match: { timestamp: { $gte: isoLocal(timestamp - days), $lte: isoLocal(timestamp) } } },
          { $group: { _id: '$currency', cost: { $sum: '$cost' } } },
        ]),
        new: sql(
          'select currency, sum(cost) from api_usage where "timestamp" between $1 and $2 group by 1',
          instantText(timestamp - days),
          instantText(timestamp),
        ),
      };
    },
  },
  {
    name: 'usage_cleanup',
    asks: 'what the clean-up deletes, the first 1000: timestamp < now - 90 days',
    weight: 0.01,
    index: { target: 'api_usage', keys: ['timestamp desc'] },
    ask(_, outcome) {
      const { timestamp } = usageRow(outcome);
      return {
        old: find({ timestamp: { $lt: isoLocal(timestamp - 90 * days) } }, { limit: 1000 }),
        new: sql(
          'select source_id from api_usage where "timestamp" < $1 limit 1000',
          instantText(timestamp - 90 * days),
        ),
      };
    },
  },
];
