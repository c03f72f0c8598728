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
import { LastingClient } from './lasting-client.ts';

/** A database, and the sessions in which it is written. The caller ends them. */
export interface WrittenDatabase {
  readonly db: Db;
  session(options?: ClientSessionOptions): Promise<ClientSession>;
}

/** A client whose database is the one in the URL's path. Throws ConfigurationInvalid where the URL names none. */
export function openMongo(url: string): { client: MongoClient; db: Db } {
  const client = new LastingClient(url, {
    appName: 'causeway',
    serverSelectionTimeoutMS: 10_000,
    connectTimeoutMS: 10_000,
    // A server that comes back is seen this soon; the default is ten seconds.
    heartbeatFrequencyMS: 500,
    maxPoolSize: 16,
    promoteValues: false,
    promoteLongs: false,
    ignoreUndefined: true,
  });
  const database = new URL(
    url.replace(/^mongodb(\+srv)?:/, 'http:').replace(/\/\/([^/@]*@)?([^/,]*),[^/]*/, '//$1$2'),
  ).pathname.slice(1);
  if (!database)
    throw new KnownFailure(
      'ConfigurationInvalid',
      `The MongoDB URL for ${mongoAddress(url)} names no database; add it to the path, as in mongodb://host:27017/tradingagents.`,
    );
  return { client, db: client.db(decodeURIComponent(database)) };
}

/** Safe for a person to read: hosts and database, without user, password or options. */
export function mongoAddress(url: string): string {
  return url
    .replace(/^mongodb(\+srv)?:\/\//, '')
    .replace(/^[^@/]*@/, '')
    .replace(/\?.*$/, '');
}

const byCode: Record<number, FailureType> = {
  13: 'PermissionDenied',
  18: 'AuthenticationFailed',
  8000: 'AuthenticationFailed',
  50: 'StoreBusy',
  112: 'StoreBusy',
  121: 'TargetConflict',
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
};

/** A driver error as a known failure. Messages of write errors quote values, so only their code is kept. */
export function mongoFailure(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || error instanceof KnownFailure) return error;
  const say = (type: FailureType, what: string) => new KnownFailure(type, `MongoDB, ${doing}: ${what}`);
  if (error instanceof MongoNetworkError || error instanceof MongoServerSelectionError)
    return say('StoreUnreachable', 'the server cannot be reached or closed the connection');
  if (error instanceof MongoServerError) {
    const code = typeof error.code === 'number' ? error.code : Number(error.code);
    const again = error.hasErrorLabel('TransientTransactionError') || error.hasErrorLabel('RetryableWriteError');
    return say(
      byCode[code] ?? (again ? 'StoreBusy' : 'Defect'),
      `code ${code}${error.codeName ? ` ${error.codeName}` : ''}`,
    );
  }
  if (error instanceof MongoError && /closed|pool|topology|ECONN|session|timed out|interrupted/i.test(error.message))
    return say('StoreUnreachable', 'the connection was closed');
  return error;
}

export async function mongo<T>(doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw mongoFailure(error, doing);
  }
}
