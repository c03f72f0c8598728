// What the checker expects of users and sessions.
import { field, moments, owner, table, texts, type Expectation, type Row } from './checker-target.ts';
import {
  equal,
  exactly,
  isPlain,
  micros,
  near,
  number,
  sameJson,
  unclear,
  type Field,
  type SourceDocument,
  type Unclear,
} from './checker-values.ts';

const configs = ['preferences', 'watchlist', 'alert_settings', 'favorite_stocks'] as const;

/** `default_depth` has two vocabularies and a watchlist several forms: of these only the plain one is compared. */
function userConfigs(document: SourceDocument): Row | Unclear {
  const result: Row = {};
  for (const name of configs) {
    const value = document[name];
    if (value === undefined || value === null) continue;
    if (!isPlain(value) && !Array.isArray(value)) return unclear;
    result[name] = value;
  }
  return result;
}

const sameConfigs: Field['same'] = (expected, actual) => {
  const [wanted, found] = [expected as Row, (actual ?? {}) as Row];
  const names = Object.keys(wanted);
  return (
    Object.keys(found).length === names.length &&
    names.every((name) => name in found && sameConfig(name, wanted[name], found[name]))
  );
};

function sameConfig(name: string, wanted: unknown, found: unknown): boolean {
  if (name === 'preferences' && isPlain(wanted) && isPlain(found) && 'default_depth' in wanted)
    return sameJson({ ...wanted, default_depth: null }, { ...found, default_depth: null });
  if (name !== 'watchlist') return sameJson(wanted, found);
  if (!Array.isArray(wanted)) return Array.isArray(found);
  return sameJson(
    wanted.map((one: unknown) => (typeof one === 'string' ? { symbol: one } : one)),
    found,
  );
}

const counters = ['daily_quota', 'concurrent_limit', 'total_analyses', 'successful_analyses', 'failed_analyses'];
const flag = (value: unknown, missing: boolean | null): unknown =>
  value === undefined ? missing : typeof value === 'boolean' ? value : unclear;

export const users: Expectation = {
  mapping: 'subscription_users',
  sources: ['subscription_users', 'users'],
  target: 'users',
  spellings: [
    'userName',
    'fullName',
    'isActive',
    'isVerified',
    'isAdmin',
    'createdAt',
    'updatedAt',
    'lastLogin',
    'alertSettings',
    'password_hash',
  ],
  load: table(
    'users',
    ['id', 'username', 'email', 'full_name', 'password_hash', 'role', 'is_active', 'is_verified', ...counters],
    ['created_at', 'updated_at', 'last_login'],
    ', (select json_object_agg(c.config_type, c.config_data) from user_configs c where c.user_id = t.id) as user_configs',
  ),
  fields: (document) => [
    ...texts(document, ['username', 'email', 'full_name']),
    ...moments(document, ['created_at', 'updated_at', 'last_login']),
    field(
      'password_hash',
      equal,
      typeof document['hashed_password'] === 'string' ? document['hashed_password'] : unclear,
    ),
    field(
      'role',
      equal,
      document['is_admin'] === true ? 'admin' : flag(document['is_admin'], false) === false ? 'user' : unclear,
    ),
    field('is_active', equal, flag(document['is_active'], true)),
    field('is_verified', equal, flag(document['is_verified'], null)),
    ...counters.map((name) => field(name, exactly, number(document[name]))),
    field('user_configs', sameConfigs, userConfigs(document)),
  ],
};

/** Milliseconds: as stated, else a day after the last use; null where no time is known. */
export function sessionExpiry(document: SourceDocument): number | null | Unclear {
  const stated = micros(document['expires_at']);
  if (typeof stated === 'number') return stated / 1000;
  if (stated === unclear) return unclear;
  const uses = ['last_activity', 'last_update', 'updated_at', 'timestamp', 'created_at'].map((name) => {
    const seconds = number(document[name]);
    return typeof seconds === 'number' ? (seconds < 1e11 ? seconds * 1e6 : unclear) : micros(document[name]);
  });
  if (uses.includes(unclear)) return unclear;
  const known = uses.filter((use) => typeof use === 'number');
  return known.length === 0 ? null : Math.max(...known) / 1000 + 86_400_000;
}

export const sessions: Expectation = {
  mapping: 'sessions',
  sources: ['sessions', 'user_sessions'],
  target: 'sessions',
  spellings: ['sessionId', 'userId', 'createdAt', 'expiresAt', 'lastActivity', 'ipAddress', 'userAgent'],
  load: table(
    'sessions',
    ['session_id', 'user_id', 'status', 'ip_address', 'user_agent', 'data'],
    ['created_at', 'expires_at', 'last_activity'],
  ),
  fields(document, arrived) {
    const expiry = sessionExpiry(document);
    return [
      ...texts(document, ['session_id', 'status', 'ip_address', 'user_agent']),
      ...moments(document, ['created_at', 'last_activity']),
      field('expires_at', near(1), typeof expiry === 'number' ? expiry * 1000 : expiry),
      field('user_id', equal, owner(document['user_id'], arrived)),
      field('data', sameJson, document['data']),
    ];
  },
};
