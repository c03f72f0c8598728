// token_usage (and its orphan usage_records) -> PostgreSQL api_usage, a hypertable on timestamp.
import { ObjectId } from 'bson';
import { z } from 'zod';
import { quarantine } from '../../core/quarantine.ts';
import { bigint, hypertable, jsonb, numeric, references, text, timestamptz } from '../../stores/postgres/target.ts';
import { currencyCode } from '../fields/currency.ts';
import { readInstant } from '../fields/instant.ts';
import { readInteger, readNumber, roundHalfEven } from '../fields/number.ts';
import { providerName } from '../fields/provider.ts';
import { residual } from '../fields/residual.ts';
import { cleanText, optionalText } from '../fields/text.ts';
import { userReference } from '../fields/user.ts';
import { isMarker } from '../fields/marker.ts';
import { defineMapping, type Document } from '../mapping.ts';
import { usageQueries } from '../queries/token-usage.ts';
import type { Notes } from '../notes.ts';
import type { TransformSettings } from '../settings.ts';
import { as } from '../shape.ts';

const hours = 3_600e6;
const minutes = 60e6;
const columns = new Set([
  '_id',
  'timestamp',
  'provider',
  'model_name',
  'input_tokens',
  'output_tokens',
  'cost',
  'currency',
  'session_id',
  'user_id',
  'analysis_type',
]);

export default defineMapping({
  collection: 'token_usage',
  aliases: ['usage_records'],
  class: 'historical',
  after: ['subscription_users'],
  shape: z.looseObject({
    _id: as.any,
    timestamp: as.text.or(as.date).or(as.number),
    provider: as.text,
    model_name: as.text,
    input_tokens: as.integer,
    output_tokens: as.integer,
    cost: as.number,
    currency: as.text.optional(),
    session_id: as.text.optional(),
    user_id: as.text.or(as.objectId).optional(),
    analysis_type: as.text.optional(),
    metadata: as.object.optional(),
    stock_code: as.text.nullish(),
    _created_at: as.date.or(as.text).optional(),
  }),
  otherNames: {
    model: 'model_name',
    modelName: 'model_name',
    inputTokens: 'input_tokens',
    outputTokens: 'output_tokens',
    sessionId: 'session_id',
    userId: 'user_id',
    analysisType: 'analysis_type',
  },
  targets: [
    hypertable('api_usage', {
      time: 'timestamp',
      columns: {
        timestamp: timestamptz({ notNull: true }),
        provider: text({ notNull: true }),
        model_name: text(),
        input_tokens: bigint({ notNull: true }),
        output_tokens: bigint({ notNull: true }),
        cost: numeric(20, 12, { notNull: true }),
        currency: text({ notNull: true }),
        session_id: text(),
        user_id: references('users', ['source_id', 'username']),
        analysis_type: text(),
        metadata: jsonb(),
      },
      indexes: [['timestamp desc'], ['provider', 'timestamp desc'], ['session_id'], ['user_id', 'timestamp desc']],
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
    }),
  ],
  skip: isMarker,
  transform: (document, notes, settings) => ({ api_usage: [row(document, notes, settings)] }),
  back: { time: 'text', tags: ['is_test', 'estimated'] },
  rules: [
    { name: 'timestamp_not_null', sql: 'select count(*) from api_usage where "timestamp" is null' },
    { name: 'cost_non_negative', sql: "select count(*) from api_usage where cost < 0 or cost = 'NaN'" },
    { name: 'tokens_non_negative', sql: 'select count(*) from api_usage where input_tokens < 0 or output_tokens < 0' },
    {
      name: 'provider_in_allowed_list',
      sql: "select count(*) from api_usage where provider is null or provider = '' or provider <> lower(provider)",
    },
    { name: 'currency_known', sql: "select count(*) from api_usage where currency !~ '^[A-Z]{3}$'" },
  ],
  values: [
    { table: 'api_usage', column: 'metadata', json: ['object'] },
    { table: 'api_usage', column: 'timestamp', min: '1970-01-01T00:00:00Z', max: '2200-01-01T00:00:00Z' },
  ],
  invariants: [
    {
      name: 'usage_per_currency_provider_and_day',
      table: 'api_usage',
      by: ['currency', 'provider'],
      localDay: 'timestamp',
      sums: ['input_tokens', 'output_tokens', 'cost'],
    },
  ],
  accessPatterns: [
    'list: provider=, model_name=, timestamp range; sort timestamp desc; limit 100',
    'statistics: last N days by provider, provider/model, local day and currency',
    'cost of one session: session_id=',
    'clean-up: timestamp < now - 90 days',
  ],
  mainRead: { by: ['session_id', 'session_id'] },
  queries: usageQueries,
});

function row(document: Document, notes: Notes, settings: TransformSettings) {
  const provider = readProvider(document['provider'], notes, settings);
  const input = readTokens(document['input_tokens'], 'input_tokens', notes);
  const output = readTokens(document['output_tokens'], 'output_tokens', notes);
  const session = readSession(document['session_id'], notes);
  return {
    timestamp: readTimestamp(document, notes, settings),
    provider,
    model_name: optionalText(document['model_name'], 'model_name', notes),
    input_tokens: input,
    output_tokens: output,
    cost: readCost(document['cost'], notes),
    currency: readCurrency(document['currency'], notes),
    session_id: session,
    user_id: document['user_id'] === undefined ? null : userReference(document['user_id'], 'user_id', notes),
    analysis_type: optionalText(document['analysis_type'], 'analysis_type', notes),
    metadata: residual(document, columns, notes, {
      is_test: provider === 'test',
      estimated: isEstimate(session, input, output),
    }),
  };
}

function readTimestamp(document: Document, notes: Notes, settings: TransformSettings): number {
  const value = document['timestamp'];
  const read = readInstant(value, settings.zone);
  if (!read) quarantine('timestamp_not_null', 'timestamp', 'timestamp is missing or is no point in time');
  let micros = read.micros;
  const id = document['_id'];
  const written = id instanceof ObjectId ? id.getTimestamp().getTime() * 1000 : undefined;
  const near = (at: number) => written !== undefined && Math.abs(at - written) <= 10 * minutes;
  if (read.form === 'naive') {
    // A host that ran in UTC wrote UTC wall-clock time: the id's own time tells.
    const asUtc = readInstant(`${(value as string).trim()}Z`, 'UTC')!.micros;
    if (!near(micros) && near(asUtc)) {
      micros = asUtc;
      notes.warn('timestamp_zone_from_id');
    } else notes.warn('timestamp_zone_assumed');
  } else if (read.form === 'date') {
    notes.warn('timestamp_was_date');
  }
  // Local time that was written as if it were UTC lies eight hours after the id's own time.
  if (read.form !== 'naive' && !near(micros) && near(micros - 8 * hours)) {
    micros -= 8 * hours;
    notes.warn('timestamp_shifted_8h');
  }
  if (micros > settings.asOf * 1000 + 5 * minutes)
    quarantine('timestamp_in_future', 'timestamp', 'timestamp lies in the future, and no zone explains it');
  // Only the form written today can be rebuilt from the column; every other is kept as it was.
  if (read.form !== 'zoned' || (value as string).length !== 32 || micros !== read.micros)
    notes.keep('timestamp', value);
  return micros;
}

function readProvider(value: unknown, notes: Notes, settings: TransformSettings): string {
  const provider = typeof value === 'string' ? providerName(value, settings.providers) : undefined;
  if (provider === undefined)
    quarantine('provider_in_allowed_list', 'provider', 'provider is missing or not in the allowed list');
  if (provider !== value) notes.keep('provider', value);
  return provider;
}

function readTokens(value: unknown, path: string, notes: Notes): number | bigint {
  const read = readInteger(value);
  if (read.is === 'missing') {
    notes.warn('tokens_missing');
    if (value === null) notes.keep(path, null);
    return 0;
  }
  if (read.is !== 'integer') quarantine('tokens_integral', path, `${path} is no whole number`);
  if (read.value < 0) quarantine('tokens_non_negative', path, `${path} is negative`);
  if (read.value > 9223372036854775807n) quarantine('tokens_integral', path, `${path} is beyond 64 bits`);
  if (!read.plain) notes.keep(path, value);
  return read.value;
}

function readCost(value: unknown, notes: Notes): string {
  const read = readNumber(value);
  if (read.is === 'infinite') quarantine('cost_finite', 'cost', 'cost is infinite');
  if (read.is !== 'number') quarantine('cost_is_number', 'cost', 'cost is missing or no number');
  const { text: cost, exact } = roundHalfEven(read.text, 12);
  if (cost.startsWith('-')) quarantine('cost_non_negative', 'cost', 'cost is negative');
  if (cost.replace(/\..*/, '').replace(/^0+/, '').length > 8)
    quarantine('cost_in_range', 'cost', 'cost has more than 8 digits before the point');
  if (!exact) notes.warn('cost_rounded');
  if (!exact || !read.plain) notes.keep('cost', value);
  if (typeof value === 'string') notes.warn('cost_was_text');
  return cost;
}

function readCurrency(value: unknown, notes: Notes): string {
  if (value === undefined || value === null || value === '') {
    notes.warn('currency_inferred');
    if (value !== undefined) notes.keep('currency', value);
    return 'CNY';
  }
  const code = typeof value === 'string' ? currencyCode(value) : undefined;
  if (code === undefined) quarantine('currency_known', 'currency', 'currency is not known');
  if (code !== value) notes.keep('currency', value);
  return code;
}

function readSession(value: unknown, notes: Notes): string | null {
  if (typeof value === 'string' && value !== '') return cleanText(value, 'session_id', notes);
  if (value === undefined) return null;
  if (value !== '') return optionalText(value, 'session_id', notes);
  notes.keep('session_id', value);
  return null;
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-/;

/** A Streamlit run leaves an estimate beside the adapters' real rows: n x 4000 in and n x 2000 out; a batch run exactly 2000/1000. */
function isEstimate(session: string | null, input: number | bigint, output: number | bigint): boolean {
  if (session === null || typeof input !== 'number' || typeof output !== 'number') return false;
  if (session.startsWith('analysis_')) return input > 0 && input % 4000 === 0 && output * 2 === input;
  return input === 2000 && output === 1000 && uuid.test(session);
}
