// analysis_results and analysis_reports -> MongoDB analysis_results_optimized: one shape, flat, validated, indexed.
import { calculateObjectSize, Int32, ObjectId } from 'bson';
import { quarantine } from '../../core/quarantine.ts';
import { collection, mapping } from '../language/declare.ts';
import { archived, unarchived } from './fields/archive.ts';
import { actionLike, actions, confidenceLike, readAction, readConfidence, readPrice } from './fields/decision.ts';
import { depthLike, researchDepth } from './fields/depth.ts';
import { readInstant, zoneOffset } from '../fields/instant.ts';
import { setOwn } from '../../core/bson/decode.ts';
import { zoneOf } from './codecs.ts';
import { isMarker } from './fields/marker.ts';
import {
  keptOf,
  localTimes,
  plainObject,
  residualParts,
  restChanges,
  symbolChanges,
  symbolFields,
} from './fields/optimised.ts';
import { readReports, sectionChanges, sectionsByName, textsOf } from './fields/sections.ts';
import { marketLike, marketOf, readSymbol, type Symbol } from './fields/symbol.ts';
import { cleanText } from '../fields/text.ts';
import type { Document } from '../mapping.ts';
import { reportQueries } from './queries/reports.ts';
import type { Notes } from '../notes.ts';

const texts = [
  'analysis_type',
  'analysis_id',
  'task_id',
  'session_id',
  'source',
  'analysis_date',
  'summary',
  'recommendation',
  'risk_level',
  'stock_name',
  'model_info',
  'sector',
] as const;
const placed = new Set<string>([
  ...symbolFields,
  ...texts,
  '_id',
  'market_type',
  'user_id',
  'status',
  'created_at',
  'updated_at',
  'timestamp',
  'research_depth',
  'confidence_score',
  'decision',
  'analysts',
  'reports',
  'state',
]);
const number = { bsonType: ['int', 'long', 'double'] };
const string = { bsonType: 'string' };
const largest = 16 * 1024 * 1024 - 16 * 1024;

const nullable = (...types: string[]) => [...types, 'null'];

export default mapping('analysis_results', {
  aliases: ['analysis_reports'],
  class: 'historical',
  after: ['subscription_users'],
  to: collection('analysis_results_optimized', {
    schema: {
      bsonType: 'object',
      required: ['_id', 'symbol', 'created_at', 'sections'],
      properties: {
        symbol: string,
        market: { enum: ['CN', 'HK', 'US'] },
        user_id: string,
        status: string,
        created_at: { bsonType: 'date' },
        updated_at: { bsonType: 'date' },
        research_depth: { bsonType: 'int', minimum: 1, maximum: 5 },
        confidence_score: { ...number, minimum: 0, maximum: 1 },
        ...Object.fromEntries(texts.map((field) => [field, string])),
        decision: {
          bsonType: 'object',
          properties: {
            action: { enum: [...actions] },
            confidence: { ...number, minimum: 0, maximum: 1 },
            risk_score: number,
            target_price: number,
            reasoning: string,
          },
        },
        analysts: { bsonType: 'array' },
        sections: {
          bsonType: 'array',
          items: { bsonType: 'object', required: ['name', 'content'], properties: { name: string, content: string } },
        },
        warnings: { bsonType: 'array' },
        residual: { bsonType: 'object' },
      },
    },
    indexes: [
      { symbol: 1, created_at: -1 },
      { user_id: 1, created_at: -1 },
      { analysis_type: 1, created_at: -1 },
      { 'decision.action': 1, created_at: -1 },
      { market: 1, created_at: -1 },
      { status: 1, created_at: -1 },
      { session_id: 1 },
      { analysis_id: 1 },
      { task_id: 1 },
      { created_at: -1 },
    ],
    otherNames: {
      stockSymbol: 'stock_symbol',
      stockCode: 'stock_code',
      analysisType: 'analysis_type',
      analysisId: 'analysis_id',
      taskId: 'task_id',
      sessionId: 'session_id',
      userId: 'user_id',
      createdAt: 'created_at',
      updatedAt: 'updated_at',
      marketType: 'market_type',
    },
    fields: {
      ...Object.fromEntries([...symbolFields, ...texts].map((field) => [field, nullable('string')])),
      market_type: ['string'],
      user_id: nullable('string', 'objectId'),
      status: ['string'],
      created_at: ['date'],
      updated_at: ['date'],
      timestamp: ['date'],
      research_depth: ['string', 'int', 'long'],
      confidence_score: ['double', 'int', 'long', 'decimal'],
      decision: ['object'],
      analysts: ['array'],
      reports: nullable('object'),
      state: ['object'],
    },
    get(document, { notes, settings }) {
      const zone = zoneOf(settings);
      const { symbol, market } = readStock(document, notes);
      const created = createdAt(document, notes, zone);
      const updated = time(document, 'updated_at', notes, zone);
      const reports = readReports(document['reports'], notes);
      const state = textsOf(Object.entries(plainObject(document['state'])), 'state', notes);
      const { decision, rest: undecided } = readDecision(document['decision'], notes);
      const depth = readDepth(document['research_depth'], notes);
      const optimised: Document = {
        _id: document['_id'],
        symbol,
        market,
        ...readTexts(document, notes),
        user_id: owner(document['user_id'], notes),
        status: readStatus(document['status'], notes),
        created_at: created,
        updated_at: updated,
        research_depth: depth,
        confidence_score: readConfidence(document['confidence_score'], 'confidence_score', notes),
        decision,
        analysts: Array.isArray(document['analysts']) ? archived(document['analysts']) : undefined,
        sections: [
          ...reports.sections,
          ...state.sections.map((section) => ({ ...section, name: `state.${section.name}` })),
        ],
      };
      const rest: Document = {
        reports: reports.rest,
        state: state.rest ?? emptyState(document['state']),
        decision: undecided,
        analysts: Array.isArray(document['analysts']) ? undefined : document['analysts'],
      };
      for (const field in document) if (!placed.has(field)) setOwn(rest, field, document[field]);
      const kept = Object.entries(notes.residual()?.['original'] ?? {}).map(([k, v]) => ({ k, v }));
      if (kept.length > 0) rest['original'] = kept;
      const residual = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
      const result = withoutUndefined({
        ...optimised,
        warnings: notes.warnings.length > 0 ? [...notes.warnings] : undefined,
        residual: Object.keys(residual).length > 0 ? asObject(archived(residual)) : undefined,
      });
      if (calculateObjectSize(result) > largest)
        quarantine('document_too_large', '', 'the document would pass 16 MB in its new form');
      return result;
    },
    back: {
      rest: 'residual',
      notes: ['warnings'],
      fields: { market: ['market_type'], created_at: ['created_at', 'timestamp'] },
      values: {
        market: marketLike,
        created_at: localTimes,
        updated_at: localTimes,
        research_depth: depthLike,
        confidence_score: confidenceLike,
        'decision.action': actionLike,
        'decision.confidence': confidenceLike,
        analysts: (value) => [unarchived(value)],
      },
      parts: {
        decision: (value) => plainObject(value),
        sections: sectionsByName,
        residual: residualParts,
      },
      originals: keptOf,
      edits: { symbol: symbolChanges, sections: sectionChanges, residual: restChanges },
    },
  }),
  skip: isMarker,
  accessPatterns: [
    'list: market=, symbol=, analysis_date range; sort created_at desc; pages of 20',
    'one report: _id, analysis_id or task_id',
    'of a user: user_id= sort created_at desc limit 50',
  ],
  mainRead: { by: ['symbol', 'symbol'], newest: ['created_at', 'created_at'] },
  queries: reportQueries,
});

/** The first of the symbol's names that is there; others that differ stay in the residual. */
function readStock(document: Document, notes: Notes): { symbol: string; market: Symbol['market'] | undefined } {
  const field = symbolFields.find(
    (name) => document[name] !== undefined && document[name] !== null && document[name] !== '',
  );
  if (field === undefined) quarantine('symbol_known', 'symbol', 'the document names no symbol');
  const stated = marketOf(document['market_type']);
  const unknown = document[field] === 'UNKNOWN';
  const read = unknown ? { symbol: 'UNKNOWN', market: stated } : readSymbol(document[field], stated);
  if (!read) quarantine('symbol_known', field, `${field} is no symbol`);
  if (unknown) notes.warn('symbol_unknown');
  for (const name of symbolFields) {
    if (document[name] === undefined) continue;
    if (name !== field && document[name] !== document[field]) notes.warn('symbols_differ');
    if (name !== 'symbol' || document[name] !== read.symbol) notes.keep(name, document[name]);
  }
  if (document['market_type'] !== undefined) notes.keep('market_type', document['market_type']);
  return { symbol: read.symbol, market: stated ?? read.market };
}

/** created_at, else timestamp, else the day. One writer stored local times as if they were UTC: `source` tells which. */
function createdAt(document: Document, notes: Notes, zone: string): Date {
  const found =
    time(document, 'created_at', notes, zone) ??
    time(document, 'timestamp', notes, zone) ??
    day(document['analysis_date'], notes, zone);
  if (!found) quarantine('created_at_valid', 'created_at', 'the document says no time of its making');
  if (document['created_at'] !== undefined && document['timestamp'] !== undefined)
    notes.keep('timestamp', document['timestamp']);
  return found;
}

function day(value: unknown, notes: Notes, zone: string): Date | undefined {
  const read = typeof value === 'string' ? readInstant(value, zone) : undefined;
  if (read) notes.warn('created_at_from_day');
  return read && new Date(read.micros / 1000);
}

function time(document: Document, field: string, notes: Notes, zone: string): Date | undefined {
  const value = document[field];
  if (value === undefined || value === null || value === '') {
    if (value !== undefined) notes.keep(field, value);
    return undefined;
  }
  const read = readInstant(value, zone);
  if (!read) quarantine('created_at_valid', field, `${field} is no point in time`);
  let millis = Math.floor(read.micros / 1000);
  if (read.form === 'date' && document['source'] === 'mongodb') {
    millis -= zoneOffset(zone, millis) * 60_000;
    notes.warn('local_time_as_utc');
  }
  if (read.form !== 'date' || millis !== (value as Date).getTime()) notes.keep(field, value);
  return new Date(millis);
}

function readTexts(document: Document, notes: Notes): Document {
  const result: Document = {};
  for (const field of texts) {
    const value = document[field];
    if (typeof value === 'string') result[field] = cleanText(value, field, notes);
    else if (value !== undefined) notes.keep(field, value);
  }
  return result;
}

function owner(value: unknown, notes: Notes): string | undefined {
  if (typeof value === 'string') return value;
  if (value !== undefined) notes.keep('user_id', value);
  return value instanceof ObjectId ? value.toHexString() : undefined;
}

/** `running` is what an older version calls `processing`. */
function readStatus(value: unknown, notes: Notes): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && value !== 'running') return cleanText(value, 'status', notes);
  notes.keep('status', value);
  return value === 'running' ? 'processing' : undefined;
}

function readDepth(value: unknown, notes: Notes): Int32 | undefined {
  if (value === undefined) return undefined;
  const depth = researchDepth(value);
  if (!(value instanceof Int32) || depth === undefined) notes.keep('research_depth', value);
  if (depth === undefined && value !== null) notes.warn('research_depth_unknown');
  return depth === undefined ? undefined : new Int32(depth);
}

function readDecision(value: unknown, notes: Notes): { decision: Document | undefined; rest: unknown } {
  const { action, confidence, risk_score: risk, target_price: price, reasoning, ...rest } = plainObject(value);
  if (Object.keys(plainObject(value)).length === 0) return { decision: undefined, rest: value };
  const reason = typeof reasoning === 'string' ? cleanText(reasoning, 'decision.reasoning', notes) : undefined;
  if (reason === undefined && reasoning !== undefined) notes.keep('decision.reasoning', reasoning);
  if (action === null || action === '') notes.keep('decision.action', action);
  const decision = {
    action: readAction(action, 'decision.action', notes),
    confidence: readConfidence(confidence, 'decision.confidence', notes),
    risk_score: readPrice(risk, 'decision.risk_score', notes),
    target_price: readPrice(price, 'decision.target_price', notes),
    reasoning: reason,
  };
  return { decision: withoutUndefined(decision), rest: Object.keys(rest).length > 0 ? rest : undefined };
}

const emptyState = (value: unknown): unknown => (Object.keys(plainObject(value)).length === 0 ? value : undefined);

const asObject = (value: unknown): unknown => (Array.isArray(value) ? { fields: value } : value);
const withoutUndefined = (value: Document): Document =>
  Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined));
