// Opening MongoDB: one client per URL and process, errors turned into known failures at this one place.
import {
  MongoError,
  MongoNetworkError,
  MongoServerError,
  MongoServerSelectionError,
  type ClientSession,
  type ClientSessionOptions,
  type Db,
  type MongoClient,
} from 'mongodb';
import { KnownFailure, type FailureType } from '../../core/failures.ts';
import { AddressError, hostText, readAddress, safeAddress, type Address } from '../address.ts';
import { Endpoints, reasonOf } from '../endpoints.ts';
import { LastingClient } from './lasting-client.ts';

/** A database, and the sessions in which it is written. The caller ends them. */
export interface WrittenDatabase {
  readonly db: Db;
  session(options?: ClientSessionOptions): Promise<ClientSession>;
}

const endpoints = new Endpoints();

/** Which MongoDB of the migration a client is for. */
export type Side = 'source' | 'target';

export interface MongoTimes {
  /** A connection that owes an answer for so long is gone, whatever it looks like; what may take longer says so (`unhurried`). Default 30 000. */
  readonly silentMs?: number | undefined;
  /** How long a command waits for a server that takes it, ms. Default 10 000. */
  readonly selectionMs?: number | undefined;
}

/** A client whose database is the one in the URL's path. Throws ConfigurationInvalid for a URL that cannot be used. */
export function openMongo(url: string, side: Side, times: MongoTimes = {}): { client: MongoClient; db: Db } {
  const what = `The URL of the ${side} MongoDB`;
  const { hosts, path, scheme } = readUrl(url, what);
  if (!path)
    throw new KnownFailure(
      'ConfigurationInvalid',
      `${what}, ${safeAddress(url)}, names no database; add it to the path, as in mongodb://host:27017/tradingagents.`,
    );
  const client = opened(url, what, times);
  const known = `${side} MongoDB`;
  if (scheme === 'mongodb')
    endpoints.open(
      known,
      hosts.map((host) => hostText(host, 27_017)),
    );
  client.on('serverOpening', ({ address }) => endpoints.meet(known, address));
  return { client, db: client.db(path) };
}

function readUrl(url: string, what: string): Address {
  try {
    return readAddress(url);
  } catch (error) {
    if (error instanceof AddressError) throw new KnownFailure('ConfigurationInvalid', `${what} ${error.message}.`);
    throw error;
  }
}

/** Options of commands; the driver takes them with each, and does not say so. For those that may rightly take long, such as making an index on many documents. */
export const unhurried: object = { socketTimeoutMS: 30 * 60_000 };
/**
 * For a page of a scan. With an index a server has it at once; one before MongoDB 5.0 walks to where it begins. Ten times as long as any other
 * command: five minutes where the URL says nothing else.
 */
export const scanning = (db: Db): object => ({ socketTimeoutMS: 10 * (db.client.options.socketTimeoutMS ?? 0) });
/** For those that the server answers at once, and that everything waits for. */
export const prompt: object = { socketTimeoutMS: 8000 };

function opened(url: string, what: string, { silentMs = 30_000, selectionMs = 10_000 }: MongoTimes): MongoClient {
  const given = new Set([...readUrl(url, what).options.keys()].map((option) => option.toLowerCase()));
  const times = {
    serverSelectionTimeoutMS: selectionMs,
    connectTimeoutMS: 10_000,
    // A server that comes back is seen this soon; the default is ten seconds.
    heartbeatFrequencyMS: 500,
    socketTimeoutMS: silentMs,
  };
  try {
    return new LastingClient(url, {
      ...Object.fromEntries(Object.entries(times).filter(([option]) => !given.has(option.toLowerCase()))),
      // JavaScript has no form for every pattern: a document with one that it has none for could not be read.
      bsonRegExp: true,
      // What the protocol stands on, whatever the URL or the cluster's defaults say.
      readPreference: 'primary',
      writeConcern: { w: 'majority' },
      retryReads: true,
      retryWrites: true,
      appName: 'causeway',
      maxPoolSize: 16,
      promoteValues: false,
      promoteLongs: false,
      ignoreUndefined: true,
    });
  } catch (error) {
    // The driver's message may repeat an option's value, and some are passwords: only the options it speaks of are named.
    const options = [...readUrl(url, what).options.keys()].filter((option) =>
      (error as Error).message.toLowerCase().includes(option.toLowerCase()),
    );
    throw new KnownFailure(
      'ConfigurationInvalid',
      `${what}, ${safeAddress(url)}, has options that the driver refuses${options.length > 0 ? `: ${options.join(', ')}` : ''}. See the connection string options of the MongoDB manual.`,
    );
  }
}

const byCode: Record<number, FailureType> = {
  13: 'PermissionDenied',
  18: 'AuthenticationFailed',
  8000: 'AuthenticationFailed',
  50: 'StoreBusy',
  112: 'StoreBusy',
  121: 'TargetConflict',
  // A document stands there under an `_id` that the server takes for the same, or has a value of a unique index.
  11000: 'TargetConflict',
  10107: 'StoreUnreachable',
  11600: 'StoreUnreachable',
  11602: 'StoreUnreachable',
  91: 'StoreUnreachable',
  189: 'StoreUnreachable',
  6: 'StoreUnreachable',
  7: 'StoreUnreachable',
  89: 'StoreUnreachable',
  9001: 'StoreUnreachable',
  // What a restart leaves of cursors and transactions, and what two transactions do to each other: done again, the same work succeeds.
  24: 'StoreBusy',
  43: 'StoreBusy',
  239: 'StoreBusy',
  244: 'StoreBusy',
  246: 'StoreBusy',
  251: 'StoreBusy',
  262: 'StoreBusy',
  // Ended by the server, its operators or its limits, in the middle of the work.
  202: 'StoreBusy',
  225: 'StoreBusy',
  279: 'StoreBusy',
  290: 'StoreBusy',
  384: 'StoreBusy',
  11601: 'StoreBusy',
  14031: 'DiskFull',
  // What an election, a shard that moves or a majority that is not there yet leaves; 234 asks to resume a change stream once more.
  13435: 'StoreUnreachable',
  13436: 'StoreUnreachable',
  63: 'StoreBusy',
  64: 'StoreBusy',
  133: 'StoreBusy',
  134: 'StoreBusy',
  150: 'StoreBusy',
  234: 'StoreBusy',
  13388: 'StoreBusy',
};

const passing = ['TransientTransactionError', 'RetryableWriteError', 'ResumableChangeStreamError'];

/** A driver error as a known failure. Messages of write errors quote values, so only their code is kept. */
export function mongoFailure(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || error instanceof KnownFailure) return error;
  const say = (type: FailureType, what: string) => new KnownFailure(type, `MongoDB, ${doing}: ${what}`);
  if (error instanceof MongoNetworkError || error instanceof MongoServerSelectionError) {
    const reason = reasonOf(error);
    return say(
      'StoreUnreachable',
      `${endpoints.name(hostOf(error))} cannot be reached or closed the connection${reason ? ` (${reason})` : ''}`,
    );
  }
  // A file of the URL's TLS options.
  const { code, path } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'EACCES')
    return new KnownFailure(
      'ConfigurationInvalid',
      `MongoDB, ${doing}: the URL names the file ${path}, which cannot be read (${code})`,
    );
  if (error instanceof MongoServerError) {
    const code = typeof error.code === 'number' ? error.code : Number(error.code);
    // Atlas has one code for a wrong password and for a right that is missing.
    if (code === 8000 && error.message.includes('not allowed')) return say('PermissionDenied', 'code 8000 AtlasError');
    if (byCode[code] === 'AuthenticationFailed')
      return say(
        'AuthenticationFailed',
        `${endpoints.name(hostOf(error))} refuses the user or password (code ${code}); a user of another database than the one in the URL's path needs authSource`,
      );
    const again = passing.some((label) => error.hasErrorLabel(label));
    return say(
      byCode[code] ?? (again ? 'StoreBusy' : 'Defect'),
      `code ${code}${error.codeName ? ` ${error.codeName}` : ''}`,
    );
  }
  if (error instanceof MongoError && /closed|pool|topology|ECONN|session|timed out|interrupted/i.test(error.message))
    return say('StoreUnreachable', `the connection to ${endpoints.name(hostOf(error))} was closed`);
  return error;
}

/** The server that the driver's error is about. */
function hostOf(error: Error): string | undefined {
  const servers = (error as { reason?: { servers?: ReadonlyMap<string, unknown> } }).reason?.servers;
  if (servers && servers.size > 0) return [...servers.keys()].join(',');
  return /(?:\bto |\b(?:ECONN\w+|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH) )((?:\[[0-9a-f:]+\]|[\w.-]+):\d+)/i.exec(
    error.message,
  )?.[1];
}

export async function mongo<T>(doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw mongoFailure(error, doing);
  }
}
