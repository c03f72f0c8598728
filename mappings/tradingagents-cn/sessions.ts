// sessions and user_sessions -> Redis session:{session_id} while they live, and a durable copy in PostgreSQL sessions.
import { readInstant } from '../fields/instant.ts';
import { isMarker } from './fields/marker.ts';
import { timesLike } from '../back/times.ts';
import { keys, mapping, table } from '../language/declare.ts';
import { missing, refused, unreadable, value, type Codec, type Settings } from '../language/codec.ts';
import { textCodec } from '../language/codecs/text.ts';
import { column, json, residual, text } from '../language/words.ts';
import type { Document } from '../mapping.ts';
import { owner, zoneOf } from './codecs.ts';
import { isoText, moment, sortable } from './moment.ts';
import { ownerText, sessionQueries } from './queries/sessions.ts';

const day = 86_400e6;
/** Times that tell when a session was last used, newest kind first. */
const used = ['last_activity', 'last_update', 'updated_at', 'timestamp', 'created_at'] as const;

const sessionId: Codec<string> = {
  ...textCodec,
  read: (source, place) =>
    typeof source === 'string' && source !== ''
      ? textCodec.read(source, place)
      : refused('session_id is missing or empty', 'session_id_not_null'),
};

/** Stated, or a day after the last use, as the application's own time-out has it. */
const expiry: Codec<number> = {
  name: 'instant',
  type: 'timestamptz',
  bson: ['date'],
  read(source, { path, notes, settings, beside }) {
    if (source !== undefined && source !== null && source !== '') {
      const read = readInstant(source, zoneOf(settings));
      if (!read) return unreadable(`${path} is no point in time`);
      if (read.form === 'naive') notes.warn(`${path}_zone_assumed`);
      return value(read.micros);
    }
    const times = used.flatMap((field) => readInstant(beside[field], zoneOf(settings))?.micros ?? []);
    if (times.length === 0) return missing;
    notes.warn('expires_at_inferred');
    return value(Math.max(...times) + day);
  },
  write: (micros, old, settings) => timesLike(micros, old, zoneOf(settings), 'date'),
};

/** The newest session keeps an id that two documents claim. */
function rankBy(document: Document, settings: Settings): string {
  const at = (field: string) => readInstant(document[field], zoneOf(settings))?.micros ?? 0;
  return `${sortable(Math.max(...used.map(at)))} ${sortable(at('created_at'))}`;
}

const rule = 'timestamps_valid';
export const sessions = table('sessions', {
  session_id: column(sessionId).required('session_id_not_null').from('session_id', 'sessionId').unique({ rankBy }),
  user_id: column(owner).from('user_id', 'userId').nullable().index(),
  status: text(),
  created_at: moment(rule).from('created_at', 'createdAt'),
  expires_at: column(expiry)
    .strict(rule)
    .with(...used)
    .from('expires_at', 'expiresAt')
    .index(),
  last_activity: moment(rule).from('last_activity', 'lastActivity'),
  ip_address: text().from('ip_address', 'ipAddress').nullable(),
  user_agent: text().from('user_agent', 'userAgent').nullable(),
  data: json().nullable(),
  metadata: residual({
    spread: 'metadata',
    known: {
      timestamp: ['double', 'int', 'long'],
      last_update: ['double', 'int', 'long'],
      analysis_id: ['string'],
      stock_symbol: ['string'],
      market_type: ['string'],
      fingerprint: ['string'],
    },
  }),
});

const iso = (micros: number | null): string | null => (micros === null ? null : isoText(micros));

/** One JSON object, as the application reads it, its owner as the application knows him. */
const sessionKeys = keys('session_keys', sessions, {
  prefix: 'session:',
  key(row, document, settings) {
    if (row.expires_at === null) return undefined;
    const { _causeway: _, ...others } = row.metadata ?? {};
    const { session_id: key, status, ip_address, user_agent, data } = row;
    const user_id = document['user_id'] === undefined ? null : ownerText(document['user_id']);
    const times = {
      created_at: iso(row.created_at),
      expires_at: iso(row.expires_at),
      last_activity: iso(row.last_activity),
    };
    const all = { ...others, session_id: key, user_id, status, ...times, ip_address, user_agent, data };
    const its = Object.fromEntries(Object.entries(all).filter(([, inner]) => inner !== null));
    return { key, value: its, expiresAt: Math.floor(row.expires_at / 1000), rank: rankBy(document, settings) };
  },
});

export default mapping('sessions', {
  aliases: ['user_sessions'],
  class: 'active',
  to: [sessionKeys, sessions],
  skip: isMarker,
  accessPatterns: ['by session_id= on every request', 'of one user: user_id=', 'clean-up: expires_at < now'],
  queries: sessionQueries,
});
