// Preflight: everything that can be refused before anything is written. What is made for a rehearsal is removed again.
import { KnownFailure, type FailureType } from '../../core/failures.ts';
import type { Settings } from '../../core/settings.ts';
import type { Phase } from '../../core/story.ts';
import type { Resources } from '../resources.ts';
import type { Checks, PreflightCheck } from './check.ts';
import { planned } from './plan.ts';
import { reachableSource, sourceChecks } from './source.ts';
import { reachableTargets, targetChecks } from './targets.ts';

export type { PreflightCheck } from './check.ts';

const checks: Checks = { ...reachableSource, ...reachableTargets, ...sourceChecks, ...targetChecks, ...planned };

const passing = new Set<FailureType>(['StoreUnreachable', 'StoreBusy', 'AuthenticationFailed']);

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
