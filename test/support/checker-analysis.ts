// What the checker expects of analysis_results and analysis_reports, which go from MongoDB to MongoDB.
import { bySourceId, field, texts, type Expectation, type Row } from './checker-target.ts';
import {
  equal,
  exactly,
  idText,
  isObjectId,
  isPlain,
  micros,
  number,
  sameDate,
  text,
  unclear,
  type Field,
  type SourceDocument,
  type Unclear,
} from './checker-values.ts';

const names = ['symbol', 'stock_symbol', 'stock_code', 'code', 'ticker'];

/** The plain spellings: 600519, 0700.HK (which becomes 00700), AAPL. */
function symbol(document: SourceDocument): string | Unclear {
  const said = names.map((name) => document[name]).find((value) => value !== undefined && value !== null);
  const found = typeof said === 'string' ? /^(\d{6}|[A-Z]{1,5})$|^(\d{4})\.HK$/.exec(said) : null;
  return found?.[1] ?? (found?.[2] === undefined ? unclear : `0${found[2]}`);
}

/** One writer, known by `source`, stored Shanghai's wall clock as if it were UTC. */
function time(document: SourceDocument, name: string): number | null | Unclear {
  const value = document[name];
  const read = value === '' ? unclear : micros(value);
  return typeof read === 'number' && value instanceof Date && document['source'] === 'mongodb'
    ? read - 8 * 3_600e6
    : read;
}

/** When it was made: created_at, else timestamp. */
function made(document: SourceDocument): unknown {
  return time(document, 'created_at') ?? time(document, 'timestamp') ?? unclear;
}

function confidence(value: unknown): number | null | Unclear {
  const read = number(value);
  return typeof read === 'number' && (read < 0 || read > 1) ? unclear : read;
}

const depths: Record<string, number> = { 快速: 1, 基础: 2, 标准: 3, 深度: 4, 全面: 5 };

function depth(value: unknown): number | null | Unclear {
  if (typeof value === 'string') return depths[value] ?? unclear;
  const read = number(value);
  return read === null || (typeof read === 'number' && [1, 2, 3, 4, 5].includes(read)) ? read : unclear;
}

const actions: Record<string, string> = {
  买入: 'buy',
  持有: 'hold',
  卖出: 'sell',
  buy: 'buy',
  hold: 'hold',
  sell: 'sell',
};

function action(decision: unknown): string | null | Unclear {
  if (decision === undefined || decision === null) return null;
  const said = isPlain(decision) ? decision['action'] : unclear;
  return said === undefined ? null : ((typeof said === 'string' ? actions[said] : undefined) ?? unclear);
}

function status(value: unknown): unknown {
  return value === 'running' ? 'processing' : text(value);
}

function userId(value: unknown): unknown {
  return isObjectId(value) ? value.toHexString() : text(value);
}

/** The texts of `reports` and `state` by name. */
function sections(document: SourceDocument): Map<string, string> | Unclear {
  const result = new Map<string, string>();
  for (const [prefix, value] of [
    ['', document['reports']],
    ['state.', document['state']],
  ] as const) {
    if (value === undefined || value === null) continue;
    if (!isPlain(value)) return unclear;
    for (const [name, content] of Object.entries(value))
      if (typeof content === 'string') result.set(prefix + name, content.replaceAll('\u0000', ''));
  }
  return result;
}

const sameSections: Field['same'] = (expected, actual) => {
  const wanted = expected as Map<string, string>;
  if (!Array.isArray(actual) || actual.length !== wanted.size) return false;
  return actual.every(({ name, content }: Row) => wanted.get(String(name)) === content);
};

export const analysis: Expectation = {
  mapping: 'analysis_results',
  sources: ['analysis_results', 'analysis_reports'],
  target: 'analysis_results_optimized',
  spellings: [
    'stockSymbol',
    'stockCode',
    'analysisType',
    'analysisId',
    'taskId',
    'sessionId',
    'userId',
    'createdAt',
    'updatedAt',
    'marketType',
  ],
  async load({ mongo }) {
    const documents = mongo.collection('analysis_results_optimized').find({}, { promoteValues: false });
    const rows: [string, Row][] = [];
    for await (const document of documents) {
      const decision = document['decision'] as Row | undefined;
      rows.push([idText(document['_id']), { ...document, 'decision.action': decision?.['action'] }]);
    }
    return bySourceId(rows);
  },
  fields: (document) => [
    ...texts(document, ['analysis_id', 'task_id', 'session_id', 'analysis_type', 'summary', 'risk_level', 'sector']),
    field('symbol', equal, symbol(document)),
    field('status', equal, status(document['status'])),
    field('user_id', equal, userId(document['user_id'])),
    field('created_at', sameDate, made(document)),
    field('updated_at', sameDate, time(document, 'updated_at')),
    field('confidence_score', exactly, confidence(document['confidence_score'])),
    field('research_depth', exactly, depth(document['research_depth'])),
    field('decision.action', equal, action(document['decision'])),
    field('sections', sameSections, sections(document)),
  ],
};
