// Preflight: everything that can be refused before anything is written. What is made for a rehearsal is removed again.
import { KnownFailure, type FailureType } from '../../core/failures.ts';
import type { Settings } from '../../core/settings.ts';
import type { Phase } from '../../core/story.ts';
import { safeAddress } from '../../stores/address.ts';
import type { Addresses, Resources } from '../resources.ts';
import type { Checks, PreflightCheck, Reachable } from './check.ts';
import { planned } from './plan.ts';
import { reachableSource, sourceChecks } from './source.ts';
import { reachableTargets, targetChecks } from './targets.ts';

export type { PreflightCheck } from './check.ts';

/** A store, as a sentence begins with it, and how it is asked whether it is there. */
export interface ToReach {
  readonly what: string;
  readonly ask: () => Promise<unknown>;
}

const checks: Checks = { ...reachableSource, ...reachableTargets, ...sourceChecks, ...targetChecks, ...planned };

const passing = new Set<FailureType>(['StoreUnreachable', 'StoreBusy', 'AuthenticationFailed']);

/** All that the migration has. */
export function toReach(resources: Resources): Record<keyof Addresses, ToReach> {
  const { addresses } = resources;
  const of = (store: keyof Addresses, name: string, check: Reachable): ToReach => ({
    what: `${name} at ${safeAddress(addresses[store])}`,
    ask: () => check(resources),
  });
  return {
    source: of('source', 'The source MongoDB', reachableSource['source is reachable']),
    postgres: of('postgres', 'The target PostgreSQL', reachableTargets['target PostgreSQL is reachable']),
    mongodb: of('mongodb', 'The target MongoDB', reachableTargets['target MongoDB is reachable']),
    redis: of('redis', 'The target Redis', reachableTargets['target Redis is reachable']),
  };
}

/** Runs every check; throws StoreUnreachable, StoreBusy, AuthenticationFailed or PreflightFailed naming all that failed. */
export async function preflight(
  resources: Resources,
  name: string,
  settings: Settings,
  until: Phase = 'cutover',
): Promise<PreflightCheck[]> {
  const unknown = (settings.collections ?? []).filter((collection) => !resources.mappings.has(collection));
  if (unknown.length > 0)
    throw new KnownFailure(
      'ConfigurationInvalid',
      `There is no mapping for ${unknown.join(', ')}. Known: ${[...resources.mappings.keys()].join(', ')}.`,
    );
  const results: PreflightCheck[] = [];
  for (const [check, run] of Object.entries(checks)) {
    try {
      const found = await run(resources, { name, settings, until });
      results.push(
        typeof found === 'string'
          ? { name: check, status: 'passed', detail: found }
          : { name: check, status: 'warning', detail: found.warning },
      );
    } catch (error) {
      // A store that is away or busy for a moment is none that the migration cannot work with.
      if (error instanceof KnownFailure && passing.has(error.type)) throw error;
      results.push({ name: check, status: 'failed', detail: (error as Error).message });
    }
  }
  const failed = results.filter((result) => result.status === 'failed');
  if (failed.length > 0) throw new KnownFailure('PreflightFailed', failed.map((result) => result.detail).join(' '));
  return results;
}
