// What the checker expects of token_usage and stock_daily_quotes.
import { field, owner, table, texts, type Expectation } from './checker-target.ts';
import {
  equal,
  exactly,
  isObjectId,
  micros,
  near,
  number,
  text,
  unclear,
  type SourceDocument,
  type Unclear,
} from './checker-values.ts';

const hours = 3_600e6;

/** A zone that the id's own time disproves, by about eight hours, may have been corrected. */
function usageTime({ _id: id, timestamp }: SourceDocument): unknown {
  const read = micros(timestamp);
  if (typeof read !== 'number') return unclear;
  const written = isObjectId(id) ? id.getTimestamp().getTime() * 1000 : NaN;
  const shift = typeof timestamp === 'string' && !/(Z|[+-]\d\d:\d\d)$/.test(timestamp) ? 8 * hours : -8 * hours;
  return Math.abs(read + shift - written) < hours / 6 + 1e6 ? [read, read + shift] : read;
}

const otherNames: Record<string, string> = {
  qwen: 'dashscope',
  alibaba: 'dashscope',
  gemini: 'google',
  claude: 'anthropic',
  glm: 'zhipu',
  baidu: 'qianfan',
  ernie: 'qianfan',
};

function provider(value: unknown): string | Unclear {
  if (typeof value !== 'string') return unclear;
  const name = value.trim().toLowerCase();
  return /^[a-z0-9_]+$/.test(name) ? (otherNames[name] ?? name) : unclear;
}

function currency(value: unknown): string | Unclear {
  if (value === undefined || value === null || value === '') return 'CNY';
  return ['CNY', 'USD', 'EUR', 'HKD', 'JPY', 'GBP'].find((code) => code === value) ?? unclear;
}

export const tokenUsage: Expectation = {
  mapping: 'token_usage',
  sources: ['token_usage', 'usage_records'],
  target: 'api_usage',
  spellings: ['model', 'modelName', 'inputTokens', 'outputTokens', 'sessionId', 'userId', 'analysisType'],
  load: table(
    'api_usage',
    [
      'provider',
      'model_name',
      'input_tokens',
      'output_tokens',
      'cost',
      'currency',
      'session_id',
      'user_id',
      'analysis_type',
    ],
    ['timestamp'],
  ),
  fields: (document, users) => [
    field('timestamp', exactly, usageTime(document)),
    field('provider', equal, provider(document['provider'])),
    field('input_tokens', exactly, number(document['input_tokens'] ?? 0)),
    field('output_tokens', exactly, number(document['output_tokens'] ?? 0)),
    field('cost', near(1e-12), number(document['cost'])),
    field('currency', equal, currency(document['currency'])),
    field('session_id', equal, text(document['session_id'] === '' ? null : document['session_id'])),
    field('user_id', equal, owner(document['user_id'], users)),
    ...texts(document, ['model_name', 'analysis_type']),
  ],
};

const prices = ['open', 'high', 'low', 'close', 'pre_close'];
const day = /^\d{4}-\d\d-\d\d$/;

function quoteDay({ trade_date: date, market }: SourceDocument): number | Unclear {
  if (typeof date !== 'string' || !day.test(date) || (market !== 'CN' && market !== 'HK')) return unclear;
  return (Date.parse(`${date}T00:00:00Z`) - 8 * 3_600_000) * 1000;
}

function plainSymbol({ symbol, market }: SourceDocument): string | Unclear {
  const forms: Record<string, RegExp> = { CN: /^\d{6}$/, HK: /^\d{5}$/, US: /^[A-Z]+$/ };
  return typeof symbol === 'string' && forms[String(market)]?.test(symbol) ? symbol : unclear;
}

export const quotes: Expectation = {
  mapping: 'stock_daily_quotes',
  sources: ['stock_daily_quotes'],
  target: 'market_data',
  spellings: ['tradeDate', 'dataSource', 'preClose', 'pctChg'],
  load: table(
    'market_data',
    [...prices, 'symbol', 'period', 'data_source', 'volume', 'amount', 'pct_chg'],
    ['timestamp'],
  ),
  fields: (document) => [
    field('symbol', equal, plainSymbol(document)),
    field('timestamp', exactly, quoteDay(document)),
    ...prices.map((name) => field(name, near(5.1e-7), number(document[name]))),
    field('volume', near(0.5), number(document['volume'])),
    field('amount', near(5.1e-5), number(document['amount'])),
    field('pct_chg', exactly, number(document['pct_chg'])),
    field('period', equal, typeof document['period'] === 'string' ? text(document['period']) : unclear),
    field('data_source', equal, text(document['data_source'])),
  ],
};
