// Opening PostgreSQL: one pool per process, errors turned into known failures at this one place.
import pg from 'pg';
import { parseIntoClientConfig } from 'pg-connection-string';
import { diskFailure } from '../../core/disk.ts';
import { KnownFailure, type FailureType } from '../../core/failures.ts';
import { AddressError, hostText, readAddress } from '../address.ts';
import { Endpoints, reasonOf } from '../endpoints.ts';
import { sessionSettings } from './session.ts';
import { Silence } from './silence.ts';

export interface PoolOptions {
  /** What `pg_stat_activity` shows for its connections. */
  readonly applicationName?: string;
  /** How long a statement may wait for one lock, ms. */
  readonly lockTimeoutMs?: number;
  readonly statementTimeoutMs?: number;
  readonly connectTimeoutMs?: number;
  /** How long a connection that owes an answer may be silent before the server is asked about it, ms. */
  readonly askAfterMs?: number;
  /** A statement that each of its transactions (`inTransaction`) begins with. */
  readonly check?: string;
}

const checks = new WeakMap<pg.Pool, string>();

const endpoints = new Endpoints();

/** What the driver connects with. Throws ConfigurationInvalid with a sentence that repeats neither user nor password. */
export function clientConfig(url: string): pg.ClientConfig {
  const refuse = (why: string): never => {
    throw new KnownFailure('ConfigurationInvalid', `The PostgreSQL URL ${why}.`);
  };
  try {
    const { hosts, path, options } = readAddress(url);
    if (hosts.length > 1) refuse('names several servers; name the one that takes writes');
    const config = parseIntoClientConfig(url) as pg.ClientConfig;
    // The driver's reader of URLs leaves some encoded characters of a name as they are.
    if (path) config.database = path;
    const host = hosts[0] ?? { name: options.get('host') ?? 'localhost', port: undefined };
    endpoints.open('target PostgreSQL', [hostText(host, Number(config.port ?? 5432))]);
    return config;
  } catch (error) {
    if (error instanceof KnownFailure) throw error;
    if (error instanceof AddressError) return refuse(error.message);
    const { code, path } = error as NodeJS.ErrnoException;
    return refuse(path ? `names the file ${path}, which cannot be read (${code})` : 'has options that cannot be read');
  }
}

export function openPool(url: string, connections = 12, options: PoolOptions = {}): pg.Pool {
  const config = clientConfig(url);
  const silence = new Silence(config, options.askAfterMs);
  const pool = new pg.Pool({
    ...config,
    max: connections,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 10_000,
    application_name: options.applicationName ?? 'causeway',
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    onConnect: async (client) => {
      const server: { pid?: number } = {};
      silence.watch(client, server);
      const [own] = await inOneTrip(client, ['select pg_backend_pid() as pid', sessionSettings(options)]);
      server.pid = (own!.rows[0] as { pid: number }).pid;
    },
  });
  if (options.check !== undefined) checks.set(pool, options.check);
  // An idle connection that the server closed is replaced on the next use; without a listener it would end the process.
  pool.on('error', () => undefined);
  // The same for one in use: what it was doing fails, and says so where it is awaited.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

const byCode: Record<string, FailureType> = {
  '42501': 'PermissionDenied',
  '28P01': 'AuthenticationFailed',
  '28000': 'AuthenticationFailed',
  '53100': 'DiskFull',
  '57014': 'StoreBusy',
  '40001': 'StoreBusy',
  '40P01': 'StoreBusy',
  '55P03': 'StoreBusy',
  '25P03': 'StoreBusy',
  '25P04': 'StoreBusy',
  '40003': 'StoreBusy',
  '55006': 'StoreBusy',
  // The server's own disk.
  '58030': 'StoreBusy',
  '58P01': 'StoreBusy',
  // A standby answers at the address of the primary, which has gone over to another.
  '25006': 'StoreUnreachable',
  // Live writers race: a key or a parent row was taken or removed meanwhile; the same work succeeds when it is done again.
  '23503': 'StoreBusy',
  // Raised by the check of the owner (control/owner.ts).
  CW010: 'ForeignStores',
};
const unreachable =
  /ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|terminated|timeout|Connection ended|not queryable/i;

/** A driver error as a known failure. Keeps code, table and constraint; leaves out `detail`, which holds values. */
export function postgresFailure(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || error instanceof KnownFailure) return error;
  const { message, table, constraint } = error as pg.DatabaseError;
  const given: unknown = (error as pg.DatabaseError).code;
  const code = typeof given === 'string' ? given : undefined;
  // A file that rows are copied to or from.
  const file = diskFailure(error);
  if (file) return file;
  if (code === 'EEXIST') return error;
  const place = [table && `table ${table}`, constraint && `constraint ${constraint}`].filter(Boolean).join(', ');
  const say = (type: FailureType, what: string) =>
    new KnownFailure(type, `PostgreSQL, ${doing}: ${what}${place && ` (${place})`}`);
  // The second is what pgbouncer says.
  if (code === '3D000' || message.startsWith('no such database'))
    return say(
      'NoSuchDatabase',
      `${firstLine(message)}; make it, or correct the name of the database in TARGET_POSTGRES_URL`,
    );
  if (code && byCode[code]) return say(byCode[code], firstLine(error.message));
  // Somebody answers and refuses: the server, or a pooler in front of it. It says what.
  if (code?.startsWith('08') || code?.startsWith('57P'))
    return say('StoreUnreachable', `${endpoints.name()} refuses the connection (${firstLine(error.message)}, ${code})`);
  const reason = reasonOf(error);
  if (reason !== undefined || unreachable.test(`${code} ${error.message}`))
    return say(
      'StoreUnreachable',
      `${endpoints.name()} cannot be reached or closed the connection${reason ? ` (${reason})` : ''}`,
    );
  // A database closed for maintenance: nobody may connect, for now.
  if (code === '55000' && message.includes('not currently accepting connections'))
    return say('StoreUnreachable', 'the database accepts no connections');
  if (code?.startsWith('53')) return say('StoreBusy', firstLine(error.message));
  if (code?.startsWith('23')) return say('TargetConflict', `a constraint is broken, code ${code}`);
  // An entry too long for an index.
  if (code === '54000') return say('ValueRefused', 'a value is too long for an index, code 54000');
  // Class 22 messages quote the value they could not read.
  if (code?.startsWith('22')) return say('ValueRefused', `a value does not fit its column, code ${code}`);
  return say('Defect', code ? `${firstLine(error.message)}, code ${code}` : firstLine(error.message));
}

const firstLine = (text: string) => text.split('\n', 1)[0]!;

/** A process that hangs, or whose host is gone, must not keep its locks from those that take over: the server ends its transaction. */
const hungAfter = '20s';

/** What waits for a lock and then looks sees what was committed meanwhile: whatever a pool, a role or a database has as its default. */
export const beginReadCommitted = 'begin isolation level read committed read write not deferrable';

type Work<T> = (client: pg.PoolClient) => Promise<T>;

/** Runs `work` in one transaction on one connection; a failure rolls back and is a known failure. */
export const inTransaction = <T>(pool: pg.Pool, doing: string, work: Work<T>): Promise<T> =>
  transaction(pool, doing, { begin: beginReadCommitted, work });

/** The same, reading only: all of it sees one moment. */
export const atOneMoment = <T>(pool: pg.Pool, doing: string, work: Work<T>): Promise<T> =>
  transaction(pool, doing, { begin: 'begin isolation level repeatable read read only', work });

async function transaction<T>(
  pool: pg.Pool,
  doing: string,
  { begin, work }: { readonly begin: string; readonly work: Work<T> },
): Promise<T> {
  let client: pg.PoolClient | undefined;
  let broken: Error | undefined;
  try {
    client = await pool.connect();
    const check = checks.get(pool);
    await client.query(
      `${begin}; set local idle_in_transaction_session_timeout = '${hungAfter}'${check === undefined ? '' : `; ${check}`}`,
    );
    const result = await work(client);
    await client.query('commit');
    return result;
  } catch (error) {
    await client?.query('rollback').catch((lost: Error) => (broken = lost));
    throw postgresFailure(error, doing);
  } finally {
    client?.release(broken);
  }
}

/** What was done has been undone, and whoever was asked may still be at it. */
export class TookTooLong extends KnownFailure {
  constructor(doing: string, ms: number) {
    super('StoreBusy', `${doing} took longer than ${ms} ms`);
  }
}

/**
 * The same, and `work` has to end within `ms`: after that its connection is closed, which undoes it and lets go what it has locked. What of it still
 * waits for another store then ends in vain. Throws TookTooLong.
 */
export async function inTransactionWithin<T>(
  pool: pg.Pool,
  doing: string,
  ms: number,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  let held: pg.PoolClient | undefined;
  let isLate = false;
  const running = inTransaction(pool, doing, (client) => {
    if (isLate) throw new TookTooLong(doing, ms);
    held = client;
    return work(client);
  }).finally(() => (held = undefined));
  running.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      isLate = true;
      (held as unknown as pg.Client | undefined)?.end().catch(() => undefined);
      reject(new TookTooLong(doing, ms));
    }, ms);
  });
  try {
    return await Promise.race([running, over]);
  } finally {
    clearTimeout(timer);
  }
}

export async function query<R extends pg.QueryResultRow>(
  on: pg.Pool | pg.ClientBase,
  doing: string,
  sql: string,
  values: unknown[] = [],
): Promise<R[]> {
  try {
    return (await on.query<R>(sql, values)).rows;
  } catch (error) {
    throw postgresFailure(error, doing);
  }
}

/** A quoted identifier. */
export const name = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`;
/** Statements without parameters, one after the other in one round trip. Their results, in order. */
export async function inOneTrip(client: pg.ClientBase, statements: readonly string[]): Promise<pg.QueryResult[]> {
  if (statements.length === 0) return [];
  const results = (await client.query(statements.join(';\n'))) as pg.QueryResult | pg.QueryResult[];
  return Array.isArray(results) ? results : [results];
}

/** A quoted string constant. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** Marks the transaction's writes as the migration's own: the outbox (control/sql/000003_cutover.sql) is for the application's. */
export const ownWrites = `set local causeway.writer = 'on'`;
