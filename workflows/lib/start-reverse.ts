// The reverse sync is a child that outlives its phase: started once, found again by its id, stopped by a signal.
import { getExternalWorkflowHandle } from '@temporalio/workflow';
import type { Settings } from '../../core/settings.ts';
import { reverseSync } from '../children/reverse-sync.ts';
import { keepReverseSignal, reverseId, stopReverseSignal } from '../contract.ts';
import { control } from '../proxies.ts';
import { keepRunning } from './standing-child.ts';

/** Anchored, and durable, before it returns: only then may a write be admitted to the new system alone (invariant I14). */
export async function bringChangesBack(
  migration: string,
  { zone, providers }: Pick<Settings, 'zone' | 'providers'>,
): Promise<void> {
  const settings = await control.armReverse({ zone, providers });
  await keepRunning({
    workflow: reverseSync,
    id: reverseId(migration),
    input: { migration, settings },
    summary: 'reverse sync',
    keep: keepReverseSignal,
  });
}

export async function stopReverse(migration: string): Promise<void> {
  await getExternalWorkflowHandle(reverseId(migration))
    .signal(stopReverseSignal)
    .catch(() => undefined);
}
