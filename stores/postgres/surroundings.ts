// What the protocol assumes of a PostgreSQL server, its database and what stands in front of it: checked, and refused by name with what mends it.
import type pg from 'pg';
import { query } from './connection.ts';

export interface Surroundings {
  /** Whole sentences; with one of them nothing is begun. */
  readonly refused: readonly string[];
  readonly warnings: readonly string[];
  readonly version: string;
}

interface Facts {
  readonly version: string;
  readonly encoding: string;
  readonly database: string;
  readonly role: string;
  readonly standby: boolean;
  readonly readOnly: string;
  readonly replication: string;
  readonly isolation: string;
  readonly fsync: string;
  readonly pages: string;
  readonly slots: number;
}

// Our own connections set aside what reset_val says; the application's do not.
const facts = `select current_setting('server_version') as version, current_setting('server_encoding') as encoding,
  quote_ident(current_database()) as database, quote_ident(current_user) as role, pg_is_in_recovery() as standby,
  (select reset_val from pg_settings where name = 'default_transaction_read_only') as "readOnly", current_setting('session_replication_role') as replication,
  (select reset_val from pg_settings where name = 'default_transaction_isolation') as isolation,
  current_setting('fsync') as fsync, current_setting('full_page_writes') as pages,
  (select least(current_setting('max_connections')::int, nullif(d.datconnlimit, -1), nullif(r.rolconnlimit, -1))
   from pg_database d, pg_roles r where d.datname = current_database() and r.rolname = current_user) as slots`;

/** A worker's pools together, a command beside it, and the routers of an application. */
const connectionsNeeded = 40;

export async function surroundingsOf(pool: pg.Pool): Promise<Surroundings> {
  const [its] = await query<Facts & Record<string, unknown>>(pool, 'looking at the server', facts);
  const { version, encoding, database, role, standby, readOnly, replication, isolation, fsync, pages, slots } = its!;
  const refused: string[] = [];
  const warnings: string[] = [];
  if (Number.parseInt(version) < 15)
    refused.push(`The target PostgreSQL is version ${version}; 15 or newer is needed.`);
  if (encoding !== 'UTF8')
    refused.push(
      `The target database ${database} is encoded in ${encoding}, which cannot hold every text that MongoDB can. Make another: create database NAME encoding 'UTF8' template template0 locale 'C'; and name it in TARGET_POSTGRES_URL.`,
    );
  if (standby)
    refused.push('The target PostgreSQL is a standby and takes no writes. Name the primary in TARGET_POSTGRES_URL.');
  if (readOnly === 'on')
    refused.push(
      `Transactions in ${database} are read-only by default (default_transaction_read_only). Allow writes: alter role ${role} in database ${database} set default_transaction_read_only = off;`,
    );
  if (replication !== 'origin')
    refused.push(
      `session_replication_role is ${replication}, so no trigger would note what the new system changes. Set it back: alter role ${role} reset session_replication_role; or alter database ${database} reset session_replication_role;`,
    );
  if (isolation !== 'read committed')
    warnings.push(
      `transactions begin as ${isolation} by default (default_transaction_isolation): Causeway's own do not, but a transaction of the application that calls admit_write must begin READ COMMITTED`,
    );
  for (const { who, settings } of await alteredFor(pool))
    warnings.push(`${who} has ${settings}: the application's transactions must begin READ COMMITTED, with triggers on`);
  if (fsync !== 'on' || pages !== 'on')
    warnings.push(
      'fsync or full_page_writes is off: a crash of the server may lose or damage what it has acknowledged',
    );
  if (slots < connectionsNeeded)
    warnings.push(`at most ${slots} connections are allowed; a worker and its commands use up to ${connectionsNeeded}`);
  const pooler = await poolerOf(pool);
  if (pooler === 'transaction')
    refused.push(
      'TARGET_POSTGRES_URL leads to a pooler that gives a connection to others after each transaction (pgbouncer: pool_mode = transaction). LISTEN, settings of a connection and temporary tables do not work through it: name the server itself, or a pool with pool_mode = session.',
    );
  if (pooler === 'session')
    warnings.push(
      `a pooler in session mode stands in front of the server; its pool must have room for ${connectionsNeeded} connections`,
    );
  return { refused, warnings, version };
}

/** Roles whose transactions would begin otherwise than the protocol assumes. */
async function alteredFor(pool: pg.Pool): Promise<{ who: string; settings: string }[]> {
  return query(
    pool,
    'looking at settings of roles',
    `select coalesce('the role ' || quote_ident(r.rolname), 'every role') as who, string_agg(c.setting, ', ') as settings
     from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole cross join lateral unnest(s.setconfig) c (setting)
     where s.setrole <> 0 and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
       and (c.setting ~ '^default_transaction_isolation=' and c.setting <> 'default_transaction_isolation=read committed'
         or c.setting ~ '^session_replication_role=' and c.setting <> 'session_replication_role=origin')
     group by r.rolname order by 1`,
  );
}

const patienceMs = 2000;

/**
 * Asked, not guessed by name: a pooler gives a process id of its own at connecting. Where another client's transaction takes the server connection
 * that this one has just used, it is shared between transactions.
 */
async function poolerOf(pool: pg.Pool): Promise<'none' | 'session' | 'transaction'> {
  const first = await pool.connect();
  const second = await pool.connect().catch((error: unknown) => {
    first.release();
    throw error;
  });
  const pid = async (client: pg.ClientBase) =>
    (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]!.pid;
  let waits = false;
  try {
    const before = await pid(first);
    // Where not even transactions are kept together (statement mode) this is refused.
    if (!(await second.query('begin').catch(() => undefined))) return 'transaction';
    const taken = await pid(second);
    let timer: NodeJS.Timeout | undefined;
    // A pool of one connection: the first client now waits for the second one's transaction.
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), patienceMs);
    });
    const asked = pid(first);
    const after = await Promise.race([asked, late]);
    clearTimeout(timer);
    waits = after === undefined;
    await second.query('rollback');
    await asked;
    if (waits || taken === before || after !== before) {
      // What every connection sets for itself (session.ts) would stay with whoever gets these next.
      for (const client of [first, second]) await client.query('discard all');
      return 'transaction';
    }
    return (first as unknown as { processID: number | null }).processID === before ? 'none' : 'session';
  } finally {
    second.release();
    first.release();
  }
}
