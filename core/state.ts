// What a migration's workflow knows of itself: its argument at continue-as-new, and the source of every answer it gives.
import type { Undoing } from './lifecycle.ts';
import type { Phase, UndoStep } from './story.ts';

export type MigrationStateName =
  'running' | 'paused' | 'parked' | 'gap' | 'compensating' | 'completed' | 'aborted' | 'rolled-back' | 'stopped';
export type WriteMode = 'old' | 'dual_write' | 'new_system';

/** Of the copy, at one moment: when its chunks are done, source = loaded + quarantined + skipped. */
export interface CollectionProgress {
  /** What the copy has read, where all its chunks are done; before that what was counted when it began, or more, as soon as it has read more. */
  readonly source: number;
  readonly loaded: number;
  readonly quarantined: number;
  readonly skipped: number;
  readonly chunksDone: number;
  readonly chunksTotal: number;
}

/** The same with other counts. What the source was given or lost after it was counted is known when it has been read. */
export function withCounts(
  progress: Omit<CollectionProgress, 'loaded' | 'quarantined' | 'skipped'>,
  counts: Pick<CollectionProgress, 'loaded' | 'quarantined' | 'skipped'>,
): CollectionProgress {
  const { loaded, quarantined, skipped } = counts;
  const read = loaded + quarantined + skipped;
  const { source, chunksDone, chunksTotal } = progress;
  const isDone = chunksTotal > 0 && chunksDone === chunksTotal;
  return { source: isDone ? read : Math.max(source, read), loaded, quarantined, skipped, chunksDone, chunksTotal };
}

export interface Route {
  readonly percentage: number;
  readonly writeMode: WriteMode;
  readonly epoch: number;
}

export interface CaptureProgress {
  /** Cluster time up to which every change stands in the targets, as seconds.increment; null before capture is opened. */
  readonly position: string | null;
  readonly lagMs: number | null;
  /** What the source could not tell; while it stands, nothing is cut over. */
  readonly gap: { readonly kind: string; readonly detail: string } | null;
  /** What fails now, a sentence each; of a running migration only who asks the tables knows. */
  readonly troubles?: readonly string[];
}

export interface CheckpointEntry {
  readonly name: string;
  readonly phase: string;
  readonly at: string;
}

export interface DecisionEntry {
  readonly at: string;
  readonly decision: string;
  readonly reason: string;
  /** Of a rollback decision: its severity. The evidence stands in the audit log. */
  readonly severity?: string;
}

export interface MigrationState {
  readonly v: 1;
  readonly migration: string;
  /** How far it has read what is known durably: nothing yet; taken over, the stores not checked yet; all of it. */
  arrived: 'no' | 'unchecked' | 'yes';
  phase: Phase;
  /** Index of the cutover stage that comes next; stages before it passed. */
  stage: number;
  state: MigrationStateName;
  /** What the migration waits for, as a person would send it; null when it waits for nobody. */
  waitingFor: string | null;
  /** A stage is being watched, or holds: `advanceStage` ends that. */
  soaking: boolean;
  /** An operator moved the traffic during this stage: going on after a pause leaves it as it is. */
  override: boolean;
  collections: Record<string, CollectionProgress>;
  routing: Record<string, Route>;
  /** As last told. */
  capture: CaptureProgress;
  undo: UndoStep[];
  /** Phases that this run has begun: what failed for good is undone only where it is one of them. */
  made: Phase[];
  /** Taken over: an earlier root was at it. */
  undoing: Undoing | null;
  /** The phase is done, and its checkpoint is not there yet. */
  passed: boolean;
  checkpoints: CheckpointEntry[];
  decisions: DecisionEntry[];
  /** The last few orders that were refused or had no effect, with the reason. */
  refused: { readonly at: string; readonly order: string; readonly reason: string }[];
  lastError: {
    readonly phase: string;
    readonly type: string;
    readonly message: string;
    readonly advice: string;
  } | null;
  estimate: string | null;
  /** Search attributes as last set; each change is an event in history. */
  shown: string;
  runs: number;
}

/** Before capture is opened, and after it was undone. */
export const notCaptured: CaptureProgress = { position: null, lagMs: null, gap: null };

export const begin = (migration: string): MigrationState => ({
  v: 1,
  migration,
  arrived: 'no',
  phase: 'preparation',
  stage: 0,
  state: 'running',
  waitingFor: null,
  soaking: false,
  override: false,
  collections: {},
  routing: {},
  capture: notCaptured,
  undo: [],
  made: [],
  undoing: null,
  passed: false,
  checkpoints: [],
  decisions: [],
  refused: [],
  lastError: null,
  estimate: null,
  shown: '',
  runs: 1,
});

export interface Status {
  readonly migration: string;
  readonly phase: Phase;
  readonly state: MigrationStateName;
  readonly waitingFor: string | null;
  readonly collections: Record<string, CollectionProgress>;
  readonly capture: CaptureProgress;
  readonly routing: Record<string, Route>;
  readonly stage: number;
  readonly checkpoints: readonly CheckpointEntry[];
  readonly refused: MigrationState['refused'];
  readonly lastError: MigrationState['lastError'];
}

/** The answer of the `status` query. */
export const statusOf = (state: MigrationState): Status => ({
  migration: state.migration,
  phase: state.phase,
  state: state.state,
  waitingFor: state.waitingFor,
  collections: state.collections,
  capture: state.capture,
  routing: state.routing,
  stage: state.stage,
  checkpoints: state.checkpoints,
  refused: state.refused,
  lastError: state.lastError,
});

/** Whether no workflow of the migration runs: it came to its end, good or bad, or was stopped from outside (`stopped`), which no workflow says of itself. */
export const isOver = (state: MigrationStateName): boolean =>
  state === 'completed' || state === 'aborted' || state === 'rolled-back' || state === 'stopped';
