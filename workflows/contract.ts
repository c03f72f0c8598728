// The public face of the workflows: signals, updates, queries, inputs and results. A client needs no other file.
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Repaired } from '../activities/capture/repair.ts';
import type { CaptureProgress, CheckpointEntry, DecisionEntry, MigrationState, Route, Status } from '../core/state.ts';
import type { Phase } from '../core/story.ts';
import type { Settings } from '../core/settings.ts';

/** Ids, names and settings only: addresses and passwords are the workers'. */
export interface MigrationInput {
  readonly name: string;
  readonly settings: Settings;
  /** The last phase to run. */
  readonly until: Phase;
}

/** A migration that has ended answers with its last status: no worker is needed to ask it. */
export type MigrationOutcome = Status;

export const rootId = (migration: string): string => `migration/${migration}`;
/** The queues beside the one on which a migration's workflows run (`core/owner.ts`): their names begin with its name. */
export interface Queues {
  readonly control: string;
  /** Extraction of a range that no worker has open: any host may take it. */
  readonly extract: string;
  /** Change capture: its lanes, its reader and its housekeeping, wherever there is room. */
  readonly capture: string;
}
export const queuesOf = (control: string): Queues => ({
  control,
  extract: `${control}/mongodb`,
  capture: `${control}/capture`,
});

/** The same in one process, to which a lane is handed over. */
export const captureQueueOf = (processQueue: string): string => `${processQueue}-capture`;
export const captureId = (migration: string): string => `${rootId(migration)}/capture`;

export const rollbackId = (migration: string): string => `${rootId(migration)}/rollback`;

export const verificationId = (migration: string): string => `${rootId(migration)}/verify`;

export const setCutoverPercentageSignal = defineSignal<[unknown]>('setCutoverPercentage');
export const pauseSignal = defineSignal('pause');
export const resumeSignal = defineSignal('resume');
export const retrySignal = defineSignal('retry');
export const approveSignal = defineSignal<[unknown]>('approve');
export const advanceStageSignal = defineSignal('advanceStage');
export const rollbackSignal = defineSignal<[unknown]>('rollback');
export const abortSignal = defineSignal<[unknown]>('abort');
export const reportIncidentSignal = defineSignal<[unknown]>('reportIncident');
/** From the copy children, at whole percents: never one per segment. */
export const progressSignal = defineSignal<[string, MigrationState['collections'][string]]>('progress');

/** From the cutover phase: what it waits for, the stages passed, and the routing it set. */
export interface StageProgress {
  readonly stage: number;
  readonly waitingFor: string | null;
  readonly routing: Record<string, Route>;
  /** The stage was left backwards: `stage` is where the cutover stands now. */
  readonly back?: boolean;
  readonly decision?: Omit<DecisionEntry, 'at'>;
  /** Whether `advanceStage` has something to end now. */
  readonly soaking?: boolean;
}
export const stageProgressSignal = defineSignal<[StageProgress]>('stageProgress');

/** From a workflow of the tree that was sent what it cannot use: `status` and the root's page tell it. */
export interface Notice {
  readonly order: string;
  readonly reason: string;
}
export const noticeSignal = defineSignal<[Notice]>('notice');

/** From change capture, when something has changed and once a minute. */
export const captureProgressSignal = defineSignal<[CaptureProgress]>('captureProgress');

export const reverseId = (migration: string): string => `${rootId(migration)}/reverse`;
/** To the reverse sync: end when nothing is left to bring back. */
export const stopReverseSignal = defineSignal('stopReverse');
/** To a reverse sync that is about to end: it is wanted again. */
export const keepReverseSignal = defineSignal('keepReverse');

/** From a restore that has ended: the stores stand as at a checkpoint, and where traffic goes now. */
export interface RestoredNews {
  readonly checkpoint: string;
  readonly routing: Record<string, Route>;
}
export const restoredSignal = defineSignal<[RestoredNews]>('restored');

/** The host that wrote a snapshot reads it again. */
export const snapshotQueueOf = (hostQueue: string): string => `${hostQueue}-snapshots`;
export const snapshotId = (migration: string, checkpoint: string): string =>
  `${rootId(migration)}/snapshot/${checkpoint}`;
export const restoreId = (migration: string): string => `${rootId(migration)}/restore`;

/** To change capture. */
export const stopCaptureSignal = defineSignal('stopCapture');
/** To change capture that is about to end: it is wanted again. */
export const keepCaptureSignal = defineSignal('keepCapture');
export const repairUpdate = defineUpdate<Repaired, [RepairRequest]>('repair');
export interface RepairRequest {
  readonly dryRun?: boolean;
  readonly deleteMissing?: boolean;
}

export const quarantineRetryId = (migration: string): string => `${rootId(migration)}/quarantine/retry`;
/** What to try again; `policy` is put into force first, for every writer. */
export interface RetryRequest {
  readonly rule?: string;
  readonly collection?: string;
  readonly dryRun: boolean;
  readonly policy?: { readonly zone: string; readonly providers: string[] };
}

// The same as updates, for a caller that wants an answer: validated before anything is recorded, answered when done.
export const setCutoverPercentageUpdate = defineUpdate<Record<string, Route>, [unknown]>('setCutoverPercentage');
export const pauseUpdate = defineUpdate<Status>('pause');
export const resumeUpdate = defineUpdate<Status>('resume');
export const retryUpdate = defineUpdate<Status>('retry');
export const approveUpdate = defineUpdate<Status, [unknown]>('approve');
export const advanceStageUpdate = defineUpdate<Status>('advanceStage');
export const abortUpdate = defineUpdate<Status, [unknown]>('abort');
export const reportIncidentUpdate = defineUpdate<Status, [unknown]>('reportIncident');
export const rollbackUpdate = defineUpdate<Status, [unknown]>('rollback');

export const statusQuery = defineQuery<Status>('status');
export const routingQuery = defineQuery<Record<string, Route>>('routing');
export const checkpointsQuery = defineQuery<readonly CheckpointEntry[]>('checkpoints');
/** Checkpoints, and in the cutover its stages and `old`. */
export const waysBackQuery = defineQuery<readonly string[]>('waysBack');
export const decisionsQuery = defineQuery<readonly DecisionEntry[]>('decisions');

/** Of the verification: what it is doing, and how many keys are different or to be looked at again. */
export interface VerificationStatus {
  readonly doing: string;
  readonly different: number;
  readonly open: number;
}
export const verificationQuery = defineQuery<VerificationStatus>('verification');
