// subscription_users and the application's users -> PostgreSQL users, with a row in user_configs per kind of setting.
import { jsonTexts } from '../back/changes.ts';
import { booleansLike } from '../back/values.ts';
import { isMarker } from './fields/marker.ts';
import { configChanges, readConfig, readWatchlist, withDepth } from './fields/user-config.ts';
import { mapping, table } from '../language/declare.ts';
import { missing, refused, value, type Codec } from '../language/codec.ts';
import type { Json } from '../language/codecs/containers.ts';
import { boolCodec } from '../language/codecs/numbers.ts';
import { textCodec } from '../language/codecs/text.ts';
import { keepBytes } from '../language/keep.ts';
import { caseless } from '../language/plan.ts';
import { column, derived, entries, int, residual, text } from '../language/words.ts';
import { passwordHash } from './fields/password.ts';
import type { Notes } from '../notes.ts';
import { moment } from './moment.ts';
import { userQueries } from './queries/users.ts';

/** A name or an address: there, and more than space. */
const named = (rule: string): Codec<string> => ({
  ...textCodec,
  read: (source, place) =>
    typeof source !== 'string' || caseless(source.replaceAll('\u0000', '')) === ''
      ? refused(`${place.path} is missing or empty`, rule)
      : textCodec.read(source, place),
});

const password: Codec<string> = {
  name: 'password',
  type: 'text',
  bson: ['string'],
  // An unusable one is written by no one: what stood there for it is kept.
  read: (source) => value(passwordHash(source).hash),
  isNatural: (source, hash) => source === hash && hash !== '!',
  write: (hash, old) => (hash === '!' && old === undefined ? [undefined, hash] : [hash]),
};

/** `admin` where is_admin says so; everybody else is a user. */
const role: Codec<string> = {
  name: 'role',
  type: 'text',
  bson: ['bool'],
  read(source, place) {
    const read = boolCodec.read(source, place);
    return value(read.is === 'value' && read.value ? 'admin' : 'user');
  },
  write(its, old) {
    if (its !== 'admin' && its !== 'user') return [];
    return old === undefined && its === 'user' ? [undefined, false] : booleansLike(its === 'admin', old);
  },
};

/** Settings of one kind: an object or a list, also as JSON in text. */
const settings = (read: (source: unknown, path: string, notes: Notes) => unknown): Codec<Json> => ({
  name: 'settings',
  type: 'jsonb',
  bson: ['object'],
  keeps: 'itself',
  read(source, { path, notes }) {
    const json = read(source, path, notes);
    return json === undefined ? missing : value(json as Json);
  },
  write: () => [],
});
/** With its bytes, where JSON does not give them back. */
function readExactly(source: unknown, path: string, notes: Notes): unknown {
  const json = readConfig(source, path, notes);
  if (json !== undefined && typeof source !== 'string') keepBytes(notes, path, source, json);
  return json;
}
const config = settings(readExactly);
const like = (field: string, codec: Codec<Json>): Codec<Json> => ({
  ...codec,
  write: (json, old) =>
    configChanges(field, json, old === undefined ? {} : { [field]: old }).flatMap(([edit]) =>
      edit && 'value' in edit ? [edit.value] : edit && 'json' in edit ? [...jsonTexts(edit.json, old), edit.json] : [],
    ),
});
/** What is no flag says nothing, and is kept. */
const flag = () =>
  column<boolean>({
    ...boolCodec,
    read(source, place) {
      const read = boolCodec.read(source, place);
      return read.is === 'value' ? read : missing;
    },
  });
const count = () => int();

export const users = table(
  'users',
  {
    username: column(named('username_not_null'))
      .required('username_not_null')
      .from('username', 'userName')
      .unique({ by: 'caseless', rank: ['is_active', 'last_login', 'updated_at', 'created_at'] }),
    email: column(named('email_valid'))
      .required('email_valid')
      .check('email_valid', (its) => /^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(caseless(its)))
      .unique({ by: 'caseless', rank: ['is_active', 'last_login', 'updated_at', 'created_at'] }),
    password_hash: column(password).required().from('hashed_password', 'password_hash').secret(),
    password_scheme: derived(textCodec, ['password_hash'], (hash: string) => passwordHash(hash).scheme),
    full_name: text().from('full_name', 'fullName'),
    role: column(role).required().from('is_admin', 'isAdmin').public(),
    is_active: flag().orElse(true).from('is_active', 'isActive').public(),
    is_verified: flag().from('is_verified', 'isVerified'),
    created_at: moment('created_at_valid').from('created_at', 'createdAt'),
    updated_at: moment('created_at_valid').from('updated_at', 'updatedAt'),
    last_login: moment('created_at_valid').from('last_login', 'lastLogin').nullable(),
    daily_quota: count(),
    concurrent_limit: count(),
    total_analyses: count(),
    successful_analyses: count(),
    failed_analyses: count(),
    configs: entries('user_configs', {
      key: 'config_type',
      value: 'config_data',
      aliases: { alert_settings: ['alertSettings'] },
      fields: {
        preferences: like(
          'preferences',
          settings((source, path, notes) => withDepth(readExactly(source, path, notes), notes)),
        ),
        watchlist: like(
          'watchlist',
          settings((source, _, notes) => readWatchlist(source, notes)),
        ),
        alert_settings: like('alert_settings', config),
        favorite_stocks: like('favorite_stocks', config),
      },
    }),
    metadata: residual({ spread: 'metadata' }),
  },
  {
    rules: [
      { name: 'username_not_null', sql: `select count(*) from users where username is null or username = ''` },
      {
        name: 'email_valid',
        sql: `select count(*) from users where email_key !~ '^[^@[:space:]]+@[^@[:space:]]+[.][^@[:space:]]+$'`,
      },
      { name: 'password_never_blank', sql: `select count(*) from users where password_hash = ''` },
    ],
  },
);

export default mapping('subscription_users', {
  aliases: ['users'],
  class: 'static',
  to: users,
  skip: isMarker,
  accessPatterns: ['log-in: username= on every request', 'by email=', 'list: skip/limit 100', 'update by username='],
  mainRead: { by: ['username', 'username'] },
  queries: userQueries,
});
