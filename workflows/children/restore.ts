// Back to a checkpoint of all stores: verify, stop, put back, start, validate. Begun again after anything, it goes on to the same end.
import { executeChild, getExternalWorkflowHandle, workflowInfo } from '@temporalio/workflow';
import type { CatchUp } from '../../activities/checkpoint/index.ts';
import type { PutBack } from '../../activities/checkpoint/put-back.ts';
import type { RestoreOrder, Verified } from '../../activities/checkpoint/restore.ts';
import type { Settings } from '../../core/settings.ts';
import type { Route } from '../../core/state.ts';
import { pauseSignal, restoredSignal, rootId } from '../contract.ts';
import { failure, isTimeout, reasonOf } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { long, onSnapshotHost } from '../proxies.ts';
import { validation } from './validation.ts';

export interface RestoreInput extends RestoreOrder {
  /** Queue of the host that wrote the snapshot; unknown, any worker looks for it. */
  readonly host: string | null;
  /** Only verifies, and says what would be done. */
  readonly dryRun: boolean;
  /** For the validation afterwards: those the migration was started with. */
  readonly settings: Settings;
}

export interface Restored extends Omit<Verified, 'routing' | 'collections' | 'workflow' | 'stores'> {
  readonly dryRun: boolean;
  /** By store: what was put back and equals the manifest; in a dry run, what would be. */
  readonly stores: Record<string, PutBack>;
  /** Now. */
  readonly routing: Record<string, Route>;
  readonly routingAtCut: Verified['routing'];
  readonly workflowAtCut: Verified['workflow'];
  readonly capture: CatchUp | 'gap' | 'not-begun';
  readonly validation: 'passed' | 'failed' | 'not-run';
  /** What a person has to know or do now. */
  readonly next: readonly string[];
}

export async function restore(input: RestoreInput): Promise<Restored> {
  const { migration, name } = input;
  introduce(migration, 'restore', `Verifying checkpoint **${name}**.`);
  try {
    const { verified, at } = await verify(input);
    if (input.dryRun) return dry(verified);
    const root = getExternalWorkflowHandle(rootId(migration));
    // Where it has ended there is nobody to pause.
    await root.signal(pauseSignal).catch(() => undefined);
    introduce(
      migration,
      'restore',
      `Restoring checkpoint **${name}**: nobody else writes to the targets until it stands.`,
    );
    await at.beginRestore(verified);
    const mongodb = await at.restoreDocuments(verified);
    const redis = await at.restoreKeys(verified);
    const files = await at.restoreFiles(verified);
    const postgres = await at.restoreRows(verified);
    const { routing, gap } = await at.finishRestore(verified);
    await root.signal(restoredSignal, { checkpoint: name, routing }).catch(() => undefined);
    introduce(migration, 'restore', `Checkpoint **${name}** stands. Change capture brings what was written since.`);
    const capture: Restored['capture'] = gap === null ? await long.catchUp() : 'gap';
    const result = capture === 'caught-up' ? await validated(input, verified) : 'not-run';
    const { routing: routingAtCut, workflow: workflowAtCut, collections: _, ...rest } = verified;
    const restored = {
      ...rest,
      dryRun: false,
      stores: { postgres, mongodb, redis, files },
      routing,
      routingAtCut,
      workflowAtCut,
      capture,
      validation: result,
    };
    const next = nextSteps(restored, gap);
    introduce(migration, 'restore', [`## Restored to ${name}`, '', ...next.map((line) => `- ${line}`)].join('\n'));
    return { ...restored, next };
  } catch (error) {
    throw failure(reasonOf(error));
  }
}

/** On the host that wrote it; if nobody serves that, wherever the folder can be read. */
async function verify(input: RestoreInput) {
  const { migration, name, snapshotDirectory, host } = input;
  const order = { migration, name, snapshotDirectory };
  if (host !== null) {
    const at = onSnapshotHost(host);
    try {
      return { verified: await at.verifySnapshot(order), at };
    } catch (error) {
      if (!isTimeout(error)) throw error;
    }
  }
  return { verified: await long.verifySnapshot(order), at: long };
}

function dry({ routing, workflow, collections: _, stores, ...rest }: Verified): Restored {
  return {
    ...rest,
    dryRun: true,
    stores,
    routing: {},
    routingAtCut: routing,
    workflowAtCut: workflow,
    capture: 'not-begun',
    validation: 'not-run',
    next: ['The snapshot is whole and fits this migration. Nothing was changed; with --yes it is restored.'],
  };
}

async function validated(input: RestoreInput, { collections }: Verified): Promise<'passed' | 'failed' | 'not-run'> {
  if (collections.length === 0) return 'not-run';
  try {
    await executeChild(validation, {
      workflowId: `${workflowInfo().workflowId}/validation`,
      args: [input.migration, collections, input.settings],
    });
    return 'passed';
  } catch {
    return 'failed';
  }
}

function nextSteps(
  restored: Pick<Restored, 'capture' | 'validation' | 'afterWriteCutover'>,
  gap: string | null,
): string[] {
  const steps = [
    'Reads and writes go to the old system. A migration that was running is paused: `causeway resume` goes on with its stage, which moves traffic again.',
  ];
  if (gap !== null) steps.push(`Change capture has a gap (${gap}): \`causeway repair\` brings what was written since.`);
  if (restored.capture === 'behind')
    steps.push(
      'Change capture does not come nearer: see `causeway capture status`, and whether a worker runs. Then `causeway validate`.',
    );
  if (restored.capture === 'not-captured')
    steps.push('Nothing is captured: the targets stand as at the cut. `causeway start` goes on from there.');
  if (restored.validation === 'failed')
    steps.push('The validation did not pass: `causeway validate` shows what differs.');
  if (restored.afterWriteCutover)
    steps.push(
      'Writes had moved to the new system: what it took since the cut is in the old system as far as the reverse sync had brought it there. `causeway repair` compares with the old system and brings it back.',
    );
  return steps;
}
