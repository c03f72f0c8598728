// sessions and user_sessions -> Redis session:{session_id} while they live, and a durable copy in PostgreSQL sessions.
import { z } from 'zod';
import { quarantine } from '../../core/quarantine.ts';
import { jsonb, references, table, text, timestamptz } from '../../stores/postgres/target.ts';
import { keys } from '../../stores/redis/target.ts';
import { readInstant } from '../fields/instant.ts';
import { toJson } from '../fields/json.ts';
import { isMarker } from '../fields/marker.ts';
import { isoText, optionalMoment, sortable } from '../fields/moment.ts';
import { residual } from '../fields/residual.ts';
import { cleanText, optionalText } from '../fields/text.ts';
import { userReference } from '../fields/user.ts';
import { defineMapping, type Document, type Outcome } from '../mapping.ts';
import { find, get, sql } from '../query.ts';
import { Notes } from '../notes.ts';
import { defaultSettings } from '../settings.ts';
import { as } from '../shape.ts';

const day = 86_400e6;
/** Times that tell when a session was last used, newest kind first; those without a column stay in metadata as well. */
const used = ['last_activity', 'last_update', 'updated_at', 'timestamp', 'created_at'] as const;
const columns = new Set([
  'session_id',
  'user_id',
  'status',
  'created_at',
  'expires_at',
  'last_activity',
  'ip_address',
  'user_agent',
  'data',
]);
const rule = 'timestamps_valid';

export default defineMapping({
  collection: 'sessions',
  aliases: ['user_sessions'],
  class: 'active',
  after: ['subscription_users'],
  shape: z.looseObject({
    _id: as.any,
    session_id: as.text,
    user_id: as.text.or(as.objectId).nullish(),
    status: as.text.optional(),
    created_at: as.date.optional(),
    expires_at: as.date.optional(),
    last_activity: as.date.optional(),
    timestamp: as.number.optional(),
    last_update: as.number.optional(),
    ip_address: as.text.nullish(),
    user_agent: as.text.nullish(),
    data: as.object.nullish(),
    analysis_id: as.text.optional(),
    stock_symbol: as.text.optional(),
    market_type: as.text.optional(),
    fingerprint: as.text.optional(),
  }),
  otherNames: {
    sessionId: 'session_id',
    userId: 'user_id',
    createdAt: 'created_at',
    expiresAt: 'expires_at',
    lastActivity: 'last_activity',
    ipAddress: 'ip_address',
    userAgent: 'user_agent',
  },
  targets: [
    keys('session_keys', { prefix: 'session:', durable: 'sessions' }),
    table('sessions', {
      columns: {
        session_id: text({ notNull: true }),
        user_id: references('users', ['source_id', 'username']),
        status: text(),
        created_at: timestamptz(),
        expires_at: timestamptz(),
        last_activity: timestamptz(),
        ip_address: text(),
        user_agent: text(),
        data: jsonb(),
        metadata: jsonb(),
      },
      unique: [['session_id']],
      indexes: [['user_id'], ['expires_at']],
    }),
  ],
  skip: isMarker,
  unique: [
    {
      rule: 'session_id_unique',
      path: 'session_id',
      key: (document) => (typeof document['session_id'] === 'string' ? document['session_id'] : undefined),
      rank,
    },
  ],
  transform(document, notes, { zone }) {
    const id = document['session_id'];
    if (typeof id !== 'string' || id === '')
      quarantine('session_id_not_null', 'session_id', 'session_id is missing or empty');
    const session = cleanText(id, 'session_id', notes);
    const created = optionalMoment(document, 'created_at', notes, zone, rule);
    const activity = optionalMoment(document, 'last_activity', notes, zone, rule);
    const expires = expiry(document, notes, zone);
    const data =
      document['data'] === undefined || document['data'] === null ? null : toJson(document['data'], 'data', notes);
    if (document['data'] === null) notes.keep('data', null);
    const row = {
      session_id: session,
      user_id: userReference(document['user_id'], 'user_id', notes),
      status: optionalText(document['status'], 'status', notes),
      created_at: created,
      expires_at: expires,
      last_activity: activity,
      ip_address: optionalText(document['ip_address'], 'ip_address', notes),
      user_agent: optionalText(document['user_agent'], 'user_agent', notes),
      data,
      metadata: residual(document, columns, notes),
    };
    if (expires === null) return { sessions: [row] };
    // Redis holds the session as the application reads it: one JSON object, its owner as the application knows him.
    const { _causeway: _, ...others } = residual(document, columns, new Notes()) ?? {};
    const value = dropNull({
      ...others,
      session_id: session,
      user_id: document['user_id'] === undefined ? null : ownerText(document['user_id']),
      status: row.status,
      created_at: created === null ? null : isoText(created),
      expires_at: isoText(expires),
      last_activity: activity === null ? null : isoText(activity),
      ip_address: row.ip_address,
      user_agent: row.user_agent,
      data,
    });
    return {
      session_keys: [{ key: session, value, expiresAt: Math.floor(expires / 1000), rank: rank(document) }],
      sessions: [row],
    };
  },
  rules: [
    { name: 'session_id_not_null', sql: `select count(*) from sessions where session_id is null or session_id = ''` },
    {
      name: 'session_id_unique',
      sql: 'select count(*) from (select 1 from sessions group by session_id having count(*) > 1) twice',
    },
  ],
  values: [{ table: 'sessions', column: 'metadata', json: ['object'] }],
  accessPatterns: ['by session_id= on every request', 'of one user: user_id=', 'clean-up: expires_at < now'],
  queries: [
    {
      name: 'session',
      asks: 'by session_id= on every request',
      ask(document, outcome) {
        const { session_id: id } = sessionOf(outcome);
        const user = ownerText(document['user_id']);
        return {
          old: find({ session_id: document['session_id'] }, { limit: 1 }),
          new: get(`session:${id}`),
          ...(user !== null && { user }),
        };
      },
    },
    {
      name: 'durable_session',
      asks: 'by session_id=, where Redis no longer has it',
      weight: 0.1,
      index: { target: 'sessions', keys: ['session_id'] },
      ask: (document, outcome) => ({
        old: find({ session_id: document['session_id'] }, { limit: 1 }),
        new: sql('select * from sessions where session_id = $1', sessionOf(outcome).session_id),
      }),
    },
    {
      name: 'sessions_of_user',
      asks: 'of one user: user_id=',
      index: { target: 'sessions', keys: ['user_id'] },
      ask(document) {
        const user = ownerText(document['user_id']);
        if (user === null || !/^[0-9a-f]{24}$/.test(user)) return undefined;
        return {
          old: find({ user_id: document['user_id'] }),
          new: sql('select s.* from sessions s join users u on u.id = s.user_id where u.source_id = $1', user),
          user,
        };
      },
    },
  ],
});

const sessionOf = (outcome: Outcome) => outcome['sessions']![0] as { session_id: string };

/** Stated, or a day after the last use, as the application's own time-out has it. null when no time is known at all. */
function expiry(document: Document, notes: Notes, zone: string): number | null {
  const stated = optionalMoment(document, 'expires_at', notes, zone, rule);
  if (stated !== null) return stated;
  const times = used
    .map((field) => readInstant(document[field], zone)?.micros)
    .filter((micros) => micros !== undefined);
  if (times.length === 0) return null;
  notes.warn('expires_at_inferred');
  return Math.max(...times) + day;
}

/** The newest session keeps an id that two documents claim. */
function rank(document: Document): string {
  const times = used.map((field) => readInstant(document[field], defaultSettings.zone)?.micros ?? 0);
  return `${sortable(Math.max(...times))} ${sortable(readInstant(document['created_at'], defaultSettings.zone)?.micros)}`;
}

function ownerText(value: unknown): string | null {
  if (typeof value === 'string') return value.replaceAll('\u0000', '');
  return value !== null && typeof value === 'object' && 'toHexString' in value
    ? (value as { toHexString(): string }).toHexString()
    : null;
}

const dropNull = (value: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null));
