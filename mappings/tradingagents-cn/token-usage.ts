// token_usage (and its orphan usage_records) -> PostgreSQL api_usage, a hypertable on timestamp.
import { hypertable, mapping } from '../language/declare.ts';
import { column, residual, text } from '../language/words.ts';
import { isMarker } from './fields/marker.ts';
import { usageQueries } from './queries/usage.ts';
import { cost, currency, filled, owner, provider, tokens, usageTime } from './codecs.ts';
import { markers } from './markers.ts';

const count = () => column(tokens).orElse(0, 'tokens_missing').atLeast(0, 'tokens_non_negative');

export const apiUsage = hypertable(
  'api_usage',
  {
    timestamp: column(usageTime).required('timestamp_not_null'),
    provider: column(provider).required('provider_in_allowed_list').public(),
    model_name: text().from('model_name', 'model', 'modelName'),
    input_tokens: count().from('input_tokens', 'inputTokens'),
    output_tokens: count().from('output_tokens', 'outputTokens'),
    cost: column(cost).required('cost_is_number').atLeast(0, 'cost_non_negative'),
    currency: column(currency).orElse('CNY', 'currency_inferred').public(),
    session_id: column(filled).from('session_id', 'sessionId').index(),
    user_id: column(owner).from('user_id', 'userId'),
    analysis_type: text().from('analysis_type', 'analysisType'),
    metadata: residual({
      spread: 'metadata',
      fresh: 'inside',
      known: { metadata: ['object'], stock_code: ['string', 'null'], _created_at: ['date', 'string'] },
      tags: { is_test: (row) => row['provider'] === 'test', estimated: (row) => isEstimate(row) },
      untagged: (look) =>
        !look.is('provider', 'test') && !mayBeEstimate(look.int('input_tokens'), look.int('output_tokens')),
    }),
  },
  {
    time: 'timestamp',
    indexes: [['timestamp desc'], ['provider', 'timestamp desc'], ['user_id', 'timestamp desc']],
    lifecycle: {
      compressAfter: '7 days',
      retainFor: '1 year',
      segmentBy: 'provider',
      daily: {
        view: 'api_usage_daily',
        by: ['currency', 'provider'],
        sums: ['cost', 'input_tokens', 'output_tokens'],
        zone: 'Asia/Shanghai',
      },
    },
    invariants: [
      {
        name: 'usage_per_currency_provider_and_day',
        by: ['currency', 'provider'],
        localDay: 'timestamp',
        sums: ['input_tokens', 'output_tokens', 'cost'],
      },
    ],
  },
);

export default mapping('token_usage', {
  aliases: ['usage_records'],
  class: 'historical',
  to: apiUsage,
  skip: isMarker,
  neverSkips: markers,
  accessPatterns: [
    'list: provider=, model_name=, timestamp range; sort timestamp desc; limit 100',
    'statistics: last N days by provider, provider/model, local day and currency',
    'cost of one session: session_id=',
    'clean-up: timestamp < now - 90 days',
  ],
  mainRead: { by: ['session_id', 'session_id'] },
  queries: usageQueries,
});

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-/;

/** A Streamlit run leaves an estimate beside the adapters' real rows: n x 4000 in and n x 2000 out; a batch run exactly 2000/1000. */
function isEstimate({
  session_id: session,
  input_tokens: input,
  output_tokens: output,
}: Readonly<Record<string, unknown>>): boolean {
  if (typeof session !== 'string' || typeof input !== 'number' || typeof output !== 'number') return false;
  if (session.startsWith('analysis_')) return input > 0 && input % 4000 === 0 && output * 2 === input;
  return input === 2000 && output === 1000 && uuid.test(session);
}

const mayBeEstimate = (input: number | undefined, output: number | undefined): boolean =>
  input !== undefined && output !== undefined && input > 0 && output * 2 === input;
