// Ways in which the targets can be wrong. The verifier is told of none of them.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { Double, ObjectId, type Db } from 'mongodb';
import type pg from 'pg';
import { labelOf } from '../../control/key-label.ts';
import { expired, many, refused, type Victim } from './victims.ts';

export interface Stores {
  readonly pool: pg.Pool;
  readonly mongo: Db;
  readonly redis: Redis;
  readonly home: string;
}

export interface Corruption {
  readonly name: string;
  /** What is to be found: ids of documents, keys of Redis, paths of files. */
  readonly found: readonly string[];
  run(stores: Stores): Promise<unknown>;
}

export interface Plot {
  /** To be inserted into the source before anything is copied. */
  readonly victims: readonly Victim[];
  readonly corruptions: readonly Corruption[];
}

const optimised = 'analysis_results_optimized';

export function plot(configuration: string): Plot {
  const victims: Victim[] = [];
  const corruptions: Corruption[] = [];
  const pile = new Map<string, Victim[]>();
  const next = (source: string, change: (v: Victim) => Victim = (v) => v): Victim => {
    if (!pile.has(source)) pile.set(source, many(source, 60));
    const victim = change(pile.get(source)!.shift()!);
    victims.push(victim);
    return victim;
  };
  const add = (name: string, found: readonly string[], run: Corruption['run']) =>
    corruptions.push({ name, found, run });

  const sql = (name: string, source: string, text: (id: string) => string) => {
    const { id } = next(source);
    add(name, [id], ({ pool }) => mustChange(pool, text(`'${id}'`)));
  };
  const row = (table: string, source: string) => (name: string, set: string) =>
    sql(name, source, (id) => `update ${table} set ${set} where source_id = ${id}`);
  const ledger = (name: string, set: string) =>
    sql(name, 'token_usage', (id) => `update migration_control.ledger set ${set} where source_id = ${id}`);
  const pair = (name: string, source: string, text: (a: string, b: string) => string) => {
    const [a, b] = [next(source), next(source)];
    add(name, [a.id, b.id], ({ pool }) => mustChange(pool, text(`'${a.id}'`, `'${b.id}'`)));
  };

  const usage = row('api_usage', 'token_usage');
  usage('a digit in a cost', 'cost = cost + 0.001');
  usage('the last place of a cost', 'cost = cost + 0.000000000001');
  usage('a timestamp off by a microsecond', `"timestamp" = "timestamp" + interval '1 microsecond'`);
  usage('a timestamp off by 8 hours', `"timestamp" = "timestamp" - interval '8 hours'`);
  usage('a timestamp in another partition', `"timestamp" = "timestamp" + interval '70 days'`);
  usage('a trimmed string', 'model_name = rtrim(model_name)');
  usage('another case', `provider = 'DeepSeek'`);
  usage('one token more', 'input_tokens = input_tokens + 1');
  usage('tokens in and out exchanged', 'input_tokens = output_tokens, output_tokens = input_tokens');
  usage('another currency', `currency = 'USD'`);
  // To one whom the legacy writer leaves alone: the row of one that it deletes is written anew.
  usage(
    'a reference to another user',
    `user_id = (select id from users where username like 'victim%' order by id limit 1)`,
  );
  usage('a reference lost', 'user_id = null');
  usage('an empty string instead of null', `session_id = ''`);
  usage('a decomposed letter', 'analysis_type = normalize(analysis_type, NFD)');
  usage('a jsonb number a little larger', `metadata = jsonb_set(metadata, '{n}', '1.0000001')`);
  usage('a jsonb integer become a float', `metadata = jsonb_set(metadata, '{n}', '1.0')`);
  usage('a jsonb text become a number', `metadata = jsonb_set(metadata, '{text}', '1')`);
  usage('a jsonb field gone', `metadata = metadata - 'text'`);
  usage('a jsonb field too many', `metadata = metadata || '{"more": null}'`);
  usage('a jsonb list reordered', `metadata = jsonb_set(metadata, '{deep,list}', '["two", 1, {"three": "x"}]')`);
  usage('jsonb null instead of none', `metadata = 'null'`);
  pair(
    'a swapped pair of costs',
    'token_usage',
    (a, b) =>
      `update api_usage t set cost = o.cost from api_usage o where t.source_id in (${a}, ${b}) and o.source_id in (${a}, ${b}) and o.source_id <> t.source_id`,
  );
  sql('a row gone', 'token_usage', (id) => `delete from api_usage where source_id = ${id}`);
  const columns =
    'provider, model_name, input_tokens, output_tokens, cost, currency, session_id, user_id, analysis_type, metadata';
  sql(
    'a row doubled at another time',
    'token_usage',
    (id) =>
      `insert into api_usage (source_id, "timestamp", ${columns}) select source_id, "timestamp" + interval '40 days', ${columns} from api_usage where source_id = ${id}`,
  );
  const nobody = new ObjectId().toHexString();
  const source = next('token_usage');
  add('a row of no document', [nobody], ({ pool }) =>
    mustChange(
      pool,
      `insert into api_usage (source_id, "timestamp", ${columns}) select '${nobody}', "timestamp", ${columns} from api_usage where source_id = '${source.id}'`,
    ),
  );
  add('a row of a document whose id is text', ['"nobody"'], ({ pool }) =>
    mustChange(
      pool,
      `insert into api_usage (source_id, "timestamp", ${columns}) select '"nobody"', "timestamp", ${columns} from api_usage where source_id = '${source.id}'`,
    ),
  );
  sql('a stale version', 'token_usage', (id) => {
    const old = `update api_usage set output_tokens = 1 where source_id = ${id}`;
    return `with old as (${old} returning source_id) update migration_control.ledger l set source_digest = source_digest + 1, version = version - 4294967296 from old where l.source_id = old.source_id`;
  });
  ledger('a ledger state flipped', `state = 'q'`);
  ledger('a ledger row deleted', 'deleted = true');
  ledger('a ledger row in the wrong place', `place = place + interval '1 day'`);
  ledger('a ledger version from the future', 'version = version + 4294967296000000');
  sql('a ledger row gone', 'token_usage', (id) => `delete from migration_control.ledger where source_id = ${id}`);
  const aside = next('token_usage', refused);
  add('a quarantined document said to be loaded', [aside.id], ({ pool }) =>
    mustChange(pool, `update migration_control.ledger set state = 'l' where source_id = '${aside.id}'`),
  );
  const other = next('token_usage', refused);
  add('a row of a quarantined document', [other.id], ({ pool }) =>
    mustChange(
      pool,
      `insert into api_usage (source_id, "timestamp", ${columns}) select '${other.id}', "timestamp", ${columns} from api_usage where source_id = '${source.id}'`,
    ),
  );

  const quote = row('market_data', 'stock_daily_quotes');
  quote('a price', 'close = close + 0.000001');
  quote('null become NaN', `pe = 'NaN'`);
  quote('what NaN was forgotten', `metadata = metadata #- '{_causeway,original,pe}'`);
  quote('NaN kept become null', `metadata = jsonb_set(metadata, '{_causeway,original,pe}', 'null')`);
  quote('the last bit of a float', 'pct_chg = 0.10000000000000002');
  quote('a day', 'trade_date = trade_date + 1');
  quote('a volume gone', 'volume = null');

  const user = row('users', 'users');
  user('an account switched off', 'is_active = false');
  user('the case of an address', 'email = upper(email)');
  user('a creation off by a microsecond', `created_at = created_at + interval '1 microsecond'`);
  user('infinity', `updated_at = 'infinity'`);
  const config = `user_configs c using users u where u.id = c.user_id and u.source_id`;
  sql('a missing child row', 'users', (id) => `delete from ${config} = ${id} and c.config_type = 'preferences'`);
  sql(
    'a child row too many',
    'users',
    (id) =>
      `insert into user_configs (user_id, config_type, config_data) select id, 'watchlist', '[]' from users where source_id = ${id}`,
  );
  const configOf = `from users u where u.id = c.user_id and u.source_id`;
  sql(
    'a child value',
    'users',
    (id) =>
      `update user_configs c set config_data = config_data || '{"rev": -1}' ${configOf} = ${id} and config_type = 'preferences'`,
  );
  pair(
    'children exchanged',
    'users',
    (a, b) =>
      `with two as (select c.id, o.config_data from user_configs c join users u on u.id = c.user_id join user_configs o on o.config_type = c.config_type and o.id <> c.id join users v on v.id = o.user_id
         where c.config_type = 'preferences' and u.source_id in (${a}, ${b}) and v.source_id in (${a}, ${b})) update user_configs c set config_data = two.config_data from two where two.id = c.id`,
  );
  const [stepping, staying] = [next('users').id, next('users').id];
  add('unique values exchanged', [stepping, staying], async ({ pool }) => {
    const read = 'select email, email_key from users where source_id = $1';
    const give = 'update users set email = $2, email_key = $3 where source_id = $1';
    const [a, b] = [await valuesOf(pool, read, stepping), await valuesOf(pool, read, staying)];
    // Constraints are checked row by row: one of them steps aside stepping.
    await mustChange(pool, give, [stepping, 'aside', 'aside']);
    await mustChange(pool, give, [staying, ...a]);
    await mustChange(pool, give, [stepping, ...b]);
  });
  sql('a user gone with his children', 'users', (id) => `delete from users where source_id = ${id}`);
  const stranger = new ObjectId().toHexString();
  add('a user of no document', [stranger], ({ pool }) =>
    mustChange(
      pool,
      `insert into users (source_id, username, email, username_key, email_key, password_hash, password_scheme, role, is_active) values ('${stranger}', 'x_${stranger}', 'x', 'x_${stranger}', 'x_${stranger}', '', 'none', 'user', true)`,
    ),
  );

  const session = row('sessions', 'sessions');
  session('a durable list reordered', `data = jsonb_set(data, '{list}', '["b", "a"]')`);
  session('a durable end', `expires_at = expires_at + interval '1 second'`);
  const key = (v: Victim) => `session:${String(v.document['session_id'])}`;
  const redis = (name: string, run: (connection: Redis, key: string) => Promise<unknown>) => {
    const victim = next('sessions');
    add(name, [victim.id], ({ redis: connection }) => run(connection, key(victim)));
  };
  redis('a lost TTL', (connection, of) => must(connection.persist(of)));
  redis('a TTL off by an hour', async (connection, of) =>
    must(connection.pexpire(of, (await connection.pttl(of)) - 3_600_000)),
  );
  redis('a field of a session', async (connection, of) => {
    const value = JSON.parse((await connection.get(of))!) as Record<string, unknown>;
    await connection.set(of, JSON.stringify({ ...value, status: 'failed' }), 'KEEPTTL');
  });
  redis('a session that is no JSON', (connection, of) => connection.set(of, 'gone', 'KEEPTTL'));
  redis('a key of another type', async (connection, of) => {
    await connection.del(of);
    await connection.hset(of, 'a', 'b');
  });
  const [first, second] = [next('sessions'), next('sessions')];
  add('swapped values', [first.id, second.id], async ({ redis: connection }) => {
    const [a, b] = (await connection.mget(key(first), key(second))) as [string, string];
    await connection.set(key(first), b, 'KEEPTTL');
    await connection.set(key(second), a, 'KEEPTTL');
  });
  // One without our mark would be the application's own.
  add('a key of nobody', [labelOf('session:nobody')], ({ redis: connection }) =>
    connection.set('session:nobody', '{"session_id":"nobody","_causeway":{"s":"nobody","r":"","v":""}}', 'EX', 9999),
  );
  const over = next('sessions', expired);
  add('a session that had its end', [over.id, labelOf(key(over))], ({ redis: connection }) =>
    connection.set(key(over), `{"_causeway":{"s":"${over.id}","r":"","v":""}}`, 'EX', 9999),
  );

  const analysis = (name: string, run: (mongo: Db, id: ObjectId) => Promise<unknown>) => {
    const victim = next('analysis_results');
    add(name, [victim.id], ({ mongo }) => run(mongo, new ObjectId(victim.id)));
  };
  const set = (name: string, change: Record<string, unknown>) =>
    analysis(name, async (mongo, _id) => {
      const { modifiedCount } = await mongo
        .collection(optimised)
        .updateOne({ _id }, change, { bypassDocumentValidation: true });
      if (modifiedCount !== 1) throw new Error(`${name} changed nothing`);
    });
  set('a nested field', { $set: { 'decision.reasoning': 'why not' } });
  set('a field deep in what has no place', { $set: { 'residual.extra.nested.value': 8 } });
  set('a field too many', { $set: { more: null } });
  set('an integer become a double', { $set: { research_depth: new Double(3) } });
  set('a date off by a millisecond', { $set: { created_at: new Date(0) } });
  set('a section gone', { $pop: { sections: 1 } });
  analysis('a document gone', (mongo, _id) => mongo.collection(optimised).deleteOne({ _id }));
  const copy = next('analysis_results');
  const alien = new ObjectId();
  add('a document of nobody', [alien.toHexString()], async ({ mongo }) => {
    const document = await mongo.collection(optimised).findOne({ _id: new ObjectId(copy.id) });
    await mongo.collection(optimised).insertOne({ ...document, _id: alien });
  });
  const [left, right] = [next('analysis_results'), next('analysis_results')];
  add('two documents exchanged', [left.id, right.id], async ({ mongo }) => {
    const collection = mongo.collection(optimised);
    const [a, b] = [new ObjectId(left.id), new ObjectId(right.id)];
    const { _id: _a, ...one } = (await collection.findOne({ _id: a }))!;
    const { _id: _b, ...two } = (await collection.findOne({ _id: b }))!;
    await collection.replaceOne({ _id: a }, two);
    await collection.replaceOne({ _id: b }, one);
  });

  const setting = row('app_metadata', 'metadata');
  setting('a setting', `value = jsonb_set(value, '{limit}', '11.5')`);
  setting('a description', `description = description || ' '`);
  for (let i = 0; i < 2; i++) next('metadata');
  const file = (i: number) => join(configuration, `victim_${i}.json`);
  for (let i = 4; i < 7; i++) next('metadata');
  add('a file edited', [file(4)], async () => {
    const text = await readFile(file(4), 'utf8');
    await writeFile(file(4), text.replace('"on": true', '"on": false'));
  });
  add('a file gone', [file(5)], () => rm(file(5)));
  add('a file cut off', [file(6)], async () => writeFile(file(6), (await readFile(file(6), 'utf8')).slice(0, 20)));
  return { victims, corruptions };
}

async function mustChange(pool: pg.Pool, text: string, values: unknown[] = []): Promise<void> {
  const { rowCount } = await pool.query(text, values);
  if (!rowCount) throw new Error(`changed nothing: ${text}`);
}

async function valuesOf(pool: pg.Pool, text: string, id: string): Promise<unknown[]> {
  const { rows } = await pool.query<unknown[]>({ text, values: [id], rowMode: 'array' });
  return rows[0]!;
}

async function must(done: Promise<number>): Promise<void> {
  if ((await done) !== 1) throw new Error('changed nothing');
}
