// subscription_users and the application's users -> PostgreSQL users, with a row in user_configs per kind of setting.
import { z } from 'zod';
import { quarantine } from '../../core/quarantine.ts';
import { boolean, integer, jsonb, table, text, timestamptz } from '../../stores/postgres/target.ts';
import { booleansLike } from '../back/values.ts';
import { readBoolean } from '../fields/boolean.ts';
import { readInstant } from '../fields/instant.ts';
import { optionalInteger } from '../fields/integer.ts';
import { isMarker } from '../fields/marker.ts';
import { optionalMoment, sortable } from '../fields/moment.ts';
import { passwordHash } from '../fields/password.ts';
import { residual } from '../fields/residual.ts';
import { cleanText, optionalText } from '../fields/text.ts';
import { configChanges, readConfig, readWatchlist, withDepth } from '../fields/user-config.ts';
import { defineMapping, type Document, type Outcome } from '../mapping.ts';
import { find, sql } from '../query.ts';
import type { Notes } from '../notes.ts';
import { defaultSettings } from '../settings.ts';
import { as } from '../shape.ts';

const counters = [
  'daily_quota',
  'concurrent_limit',
  'total_analyses',
  'successful_analyses',
  'failed_analyses',
] as const;
const configs = ['preferences', 'watchlist', 'alert_settings', 'favorite_stocks'] as const;
const moments = ['created_at', 'updated_at', 'last_login'] as const;
const columns = new Set<string>([
  ...counters,
  ...configs,
  ...moments,
  'username',
  'email',
  'hashed_password',
  'full_name',
  'is_active',
  'is_verified',
  'is_admin',
]);

export default defineMapping({
  collection: 'subscription_users',
  aliases: ['users'],
  class: 'static',
  shape: z.looseObject({
    _id: as.any,
    username: as.text,
    email: as.text,
    hashed_password: as.text.optional(),
    full_name: as.text.optional(),
    is_active: as.boolean.optional(),
    is_verified: as.boolean.optional(),
    is_admin: as.boolean.optional(),
    created_at: as.date.or(as.text),
    updated_at: as.date.optional(),
    last_login: as.date.nullish(),
    preferences: as.object.optional(),
    watchlist: as.array.or(as.object).optional(),
    alert_settings: as.object.nullish(),
    favorite_stocks: as.array.optional(),
    ...Object.fromEntries(counters.map((counter) => [counter, as.integer.optional()])),
  }),
  otherNames: {
    userName: 'username',
    fullName: 'full_name',
    isActive: 'is_active',
    isVerified: 'is_verified',
    isAdmin: 'is_admin',
    createdAt: 'created_at',
    updatedAt: 'updated_at',
    lastLogin: 'last_login',
    alertSettings: 'alert_settings',
    password_hash: 'hashed_password',
  },
  targets: [
    table('users', {
      columns: {
        username: text({ notNull: true }),
        email: text({ notNull: true }),
        username_key: text({ notNull: true, derived: { from: 'username', sql: keySql('username') } }),
        email_key: text({ notNull: true, derived: { from: 'email', sql: keySql('email') } }),
        password_hash: text({ notNull: true }),
        password_scheme: text({ notNull: true }),
        full_name: text(),
        role: text({ notNull: true }),
        is_active: boolean({ notNull: true }),
        is_verified: boolean(),
        created_at: timestamptz(),
        updated_at: timestamptz(),
        last_login: timestamptz(),
        daily_quota: integer(),
        concurrent_limit: integer(),
        total_analyses: integer(),
        successful_analyses: integer(),
        failed_analyses: integer(),
        metadata: jsonb(),
      },
      unique: [['username_key'], ['email_key']],
      alsoUnique: [['username'], ['email']],
    }),
    table('user_configs', {
      child: { of: 'users', column: 'user_id', unique: ['config_type'] },
      columns: { config_type: text({ notNull: true }), config_data: jsonb({ notNull: true }) },
    }),
  ],
  skip: isMarker,
  unique: [
    { rule: 'username_unique', path: 'username', key: (document) => keyOf(document['username']), rank },
    { rule: 'email_unique', path: 'email', key: (document) => keyOf(document['email']), rank },
  ],
  transform(document, notes, { zone }) {
    const username = required(document['username'], 'username', 'username_not_null', notes);
    const email = required(document['email'], 'email', 'email_valid', notes);
    if (!/^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(keyOf(email)!)) quarantine('email_valid', 'email', 'email is no address');
    const { hash, scheme } = passwordHash(document['hashed_password']);
    if (scheme === 'none' && document['hashed_password'] !== undefined)
      notes.keep('hashed_password', document['hashed_password']);
    const [created, updated, login] = moments.map((field) =>
      optionalMoment(document, field, notes, zone, 'created_at_valid'),
    );
    const admin = readBoolean(document['is_admin'], 'is_admin', notes, null);
    if (admin === false) notes.keep('is_admin', false);
    const settings = configRows(document, notes);
    const row = {
      username,
      email,
      username_key: keyOf(username),
      email_key: keyOf(email),
      password_hash: hash,
      password_scheme: scheme,
      full_name: optionalText(document['full_name'], 'full_name', notes),
      role: admin === true ? 'admin' : 'user',
      is_active: readBoolean(document['is_active'], 'is_active', notes, true),
      is_verified: readBoolean(document['is_verified'], 'is_verified', notes, null),
      created_at: created,
      updated_at: updated,
      last_login: login,
      ...Object.fromEntries(counters.map((counter) => [counter, optionalInteger(document[counter], counter, notes)])),
      metadata: residual(document, columns, notes),
    };
    return { users: [row], user_configs: settings };
  },
  back: {
    fields: {
      password_hash: ['hashed_password'],
      password_scheme: [],
      username_key: [],
      email_key: [],
    },
    edits: {
      user_configs: configChanges,
      role: (_, role, document) =>
        role === 'admin' || role === 'user'
          ? booleansLike(role === 'admin', document['is_admin']).map((value) => [{ path: ['is_admin'], value }])
          : [],
    },
  },
  rules: [
    { name: 'username_not_null', sql: `select count(*) from users where username is null or username = ''` },
    {
      name: 'email_valid',
      sql: `select count(*) from users where email_key !~ '^[^@[:space:]]+@[^@[:space:]]+[.][^@[:space:]]+$'`,
    },
    { name: 'password_never_blank', sql: `select count(*) from users where password_hash = ''` },
    {
      name: 'config_type_known',
      sql: `select count(*) from user_configs where config_type not in ('preferences', 'watchlist', 'alert_settings', 'favorite_stocks')`,
    },
  ],
  values: [
    { table: 'users', column: 'metadata', json: ['object'] },
    { table: 'user_configs', column: 'config_data', json: ['object', 'array'] },
  ],
  accessPatterns: ['log-in: username= on every request', 'by email=', 'list: skip/limit 100', 'update by username='],
  mainRead: { by: ['username', 'username'] },
  queries: [
    {
      name: 'user_by_name',
      asks: 'log-in: username= on every request',
      weight: 4,
      index: { target: 'users', keys: ['username'] },
      ask: (document, outcome) => ({
        old: find({ username: document['username'] }, { limit: 1 }),
        new: sql('select * from users where username = $1', userOf(outcome).username),
      }),
    },
    {
      name: 'user_by_email',
      asks: 'by email=',
      index: { target: 'users', keys: ['email'] },
      ask: (document, outcome) => ({
        old: find({ email: document['email'] }, { limit: 1 }),
        new: sql('select * from users where email = $1', userOf(outcome).email),
      }),
    },
    {
      name: 'user_settings',
      asks: 'a user with all settings: username=',
      index: { target: 'user_configs', keys: ['user_id', 'config_type'] },
      ask: (document, outcome) => ({
        old: find({ username: document['username'] }, { limit: 1 }),
        new: sql(
          'select c.config_type, c.config_data from user_configs c join users u on u.id = c.user_id where u.username = $1',
          userOf(outcome).username,
        ),
      }),
    },
    {
      name: 'user_list',
      asks: 'a page of 100 users',
      weight: 0.05,
      ask: () => ({
        old: find({}, { limit: 100 }),
        new: sql('select * from users order by id limit 100'),
      }),
    },
  ],
});

const userOf = (outcome: Outcome) => outcome['users']![0] as { username: string; email: string };

/** The same in SQL, as far as the database's collation tells capitals: for users that the application adds by itself. */
function keySql(column: string): string {
  return `normalize(lower(btrim(normalize(new.${column}, NFKC), E' \\t\\n\\r\\f\\v')), NFKC)`;
}

/** Detects clashes by case, width, composition and surrounding space; what is shown stays as it was. */
const keyOf = (value: unknown): string | undefined =>
  typeof value === 'string'
    ? value.replaceAll('\u0000', '').normalize('NFKC').trim().toLowerCase().normalize('NFKC')
    : undefined;

function required(value: unknown, field: string, rule: string, notes: Notes): string {
  if (typeof value !== 'string' || keyOf(value) === '') quarantine(rule, field, `${field} is missing or empty`);
  return cleanText(value, field, notes);
}

/** Active accounts first, then the one used last. */
function rank(document: Document): string {
  const active =
    document['is_active'] === undefined || document['is_active'] === null || document['is_active'] === true;
  const times = ['last_login', 'updated_at', 'created_at'].map((field) =>
    sortable(readInstant(document[field], defaultSettings.zone)?.micros),
  );
  return `${active ? 1 : 0} ${times.join(' ')}`;
}

function configRows(document: Document, notes: Notes): { config_type: string; config_data: unknown }[] {
  const read = {
    preferences: withDepth(readConfig(document['preferences'], 'preferences', notes), notes),
    watchlist: readWatchlist(document['watchlist'], notes),
    alert_settings: readConfig(document['alert_settings'], 'alert_settings', notes),
    favorite_stocks: readConfig(document['favorite_stocks'], 'favorite_stocks', notes),
  };
  return configs
    .filter((config) => read[config] !== undefined)
    .map((config) => ({ config_type: config, config_data: read[config] }));
}
