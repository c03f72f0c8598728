// One check of the preflight, and what several of them share.
import type { MongoClient } from 'mongodb';
import { KnownFailure, type FailureType } from '../../core/failures.ts';
import type { Settings } from '../../core/settings.ts';
import type { Phase } from '../../core/story.ts';
import type { Resources } from '../resources.ts';

export interface PreflightCheck {
  readonly name: string;
  readonly status: 'passed' | 'failed' | 'warning';
  readonly detail: string;
}

export interface Asked {
  readonly name: string;
  readonly settings: Settings;
  /** The last phase that is to run: what only a later one needs is a warning. */
  readonly until: Phase;
}

/** Throws with a whole sentence; an unreachable store is told apart, so that it can be retried. */
export type Check = (resources: Resources, asked: Asked) => Promise<PreflightCheck['detail'] | { warning: string }>;
export type Checks = Readonly<Record<string, Check>>;
/** Of one store, whether it is there at all. Says where. */
export type Reachable = (resources: Resources) => Promise<string>;

/** Sessions that are noted nowhere: the table that tells of them is not made yet. */
export const unnoted = <T extends { readonly client: MongoClient }>(store: T) => ({
  ...store,
  session: () => Promise.resolve(store.client.startSession()),
});

export const chosen = (resources: Resources, settings: Settings): string[] =>
  settings.collections ?? [...resources.mappings.keys()];

/** Somebody is there, and says what is wrong. */
const answered = new Set<FailureType>(['PermissionDenied', 'ConfigurationInvalid', 'NoSuchDatabase']);

interface Place {
  readonly what: string;
  /** As it may be shown. */
  readonly address: string;
  readonly variable: string;
}

export function unreachable(error: unknown, { what, address, variable }: Place): never {
  if (error instanceof KnownFailure && error.type === 'AuthenticationFailed')
    throw new KnownFailure(
      'AuthenticationFailed',
      `${what} at ${address} refuses the user or password in ${variable}.${hintFor(variable)}`,
    );
  if (error instanceof KnownFailure && answered.has(error.type)) throw error;
  const why = error instanceof Error ? error.message : 'no answer';
  throw new KnownFailure(
    'StoreUnreachable',
    `${what} at ${address} cannot be reached (${why}). Check that it runs and that ${variable} is right.`,
  );
}

/** Said to whoever made a user as the runbook has it, in the database admin. */
const hintFor = (variable: string): string =>
  variable.endsWith('_MONGODB_URL')
    ? ` A user that was made in another database than the one in the URL's path needs authSource, as in ...?authSource=admin.`
    : '';
