// Every way an activity may fail: whether trying again helps, and what a person should do. One table; everything else derives from it.

import type { Phase } from './story.ts';

export interface FailureClass {
  /** Temporal tries again by itself. */
  readonly retryable: boolean;
  /** What the migration does when it cannot go on: wait for a person, or undo the phase that failed. */
  readonly then: 'park' | 'compensate';
  readonly advice: string;
}

export const failures = {
  StoreUnreachable: {
    retryable: true,
    then: 'park',
    advice: 'Check that the server is up and reachable from the workers, then `causeway retry`.',
  },
  StoreBusy: {
    retryable: true,
    then: 'park',
    advice: 'The store refused the work for now; look at its load, then `causeway retry`.',
  },
  SpoolLost: {
    retryable: false,
    then: 'park',
    advice: 'The host that held the spooled documents is gone; the chunk is read again on `causeway retry`.',
  },
  PermissionDenied: {
    retryable: false,
    then: 'compensate',
    advice: 'Grant the missing privilege to the user in the store URL, then `causeway retry`.',
  },
  AuthenticationFailed: {
    retryable: false,
    then: 'park',
    advice: 'Correct the user or password in the store URL of the workers, restart them, then `causeway retry`.',
  },
  NoSuchDatabase: {
    // It may be under way to another server, or being renamed.
    retryable: true,
    then: 'park',
    advice: 'Correct the database in the store URL of the workers, or make it; restart them, then `causeway retry`.',
  },
  KeyMissing: {
    // Another host may have it.
    retryable: true,
    then: 'park',
    advice:
      'Give every worker and application the same CAUSEWAY_QUARANTINE_KEY (docs/settings.md), restart them, then `causeway retry`.',
  },
  PreflightFailed: {
    retryable: false,
    then: 'compensate',
    advice: 'Nothing was written. Correct what the message names, then `causeway retry`.',
  },
  ForeignStores: {
    retryable: false,
    then: 'park',
    advice:
      'Nothing was changed. Give the worker the stores that the migration was begun with (`causeway stores` compares them), restart it, then `causeway retry`.',
  },
  ConfigurationInvalid: {
    retryable: false,
    then: 'compensate',
    advice: 'Correct the configuration, then `causeway abort` and start again.',
  },
  TargetConflict: {
    retryable: false,
    then: 'compensate',
    advice: 'A row breaks a constraint of the target; see the message, then `causeway retry`.',
  },
  FileInTheWay: {
    retryable: false,
    then: 'park',
    advice: 'Move the file, then `causeway retry`; or abort, and set another configurationDirectory.',
  },
  ValueRefused: {
    retryable: false,
    then: 'park',
    advice:
      'A mapping gave a value that its column cannot hold: correct the mapping, restart the workers, then `causeway retry`.',
  },
  DiskFull: {
    retryable: true,
    then: 'park',
    advice: 'Free space on the server or the worker host, then `causeway retry`.',
  },
  DiskUnusable: {
    // Another host may have a better one.
    retryable: true,
    then: 'park',
    advice:
      'Look at the disk of the worker host, at the place that the message names: mount, rights, limits of open files. Then `causeway retry`.',
  },
  ChunksFailed: {
    retryable: false,
    then: 'park',
    advice: 'Correct the cause named above, then `causeway retry`: finished chunks are not copied again.',
  },
  ValidationFailed: {
    retryable: false,
    then: 'park',
    advice:
      '`causeway validate` makes the checks again and says what fails and why; correct the cause, then `causeway retry` or `causeway abort`.',
  },
  CaptureGap: {
    retryable: false,
    then: 'park',
    advice:
      'The source can no longer tell every change. `causeway repair --dry-run` counts what differs, `causeway repair` closes the gap without starting over.',
  },
  StaleEpoch: {
    retryable: false,
    then: 'park',
    advice:
      'The application reads the routing again by itself; its write stands in the old system, and capture brings it.',
  },
  NewSystemAuthoritative: {
    retryable: false,
    then: 'park',
    advice:
      'The new system is authoritative for this collection; write there, or go back first with `causeway rollback`.',
  },
  SwitchRefused: {
    retryable: true,
    then: 'park',
    advice:
      'Writes stayed where they were. Correct what the message names, then `causeway retry` tries the stage again.',
  },
  PointOfNoReturn: {
    retryable: false,
    then: 'park',
    advice: 'The old system can only be brought back by hand, from its last snapshot.',
  },
  DecommissionRefused: {
    retryable: false,
    then: 'park',
    advice:
      'Everything stays with the new system. Do what the message says, then `causeway retry`, and approve `decommission` again.',
  },
  GateShut: {
    retryable: false,
    then: 'park',
    advice: 'Do what the message says for each gate, then `causeway retry` looks at them again.',
  },
  StageFailed: {
    retryable: false,
    then: 'park',
    advice:
      'Traffic was moved back to the stage before. See `causeway decisions`, correct the cause, then `causeway retry` tries the stage again.',
  },
  CheckpointRefused: {
    retryable: false,
    then: 'park',
    advice: 'Nothing was changed. See the message; `causeway checkpoint list` shows what there is.',
  },
  CheckpointDamaged: {
    retryable: false,
    then: 'park',
    advice:
      'Nothing was changed. Restore another checkpoint (`causeway checkpoint list`), or bring back the damaged files from a copy.',
  },
  ApprovalTimedOut: {
    retryable: false,
    then: 'park',
    advice: '`causeway retry` asks again, `causeway abort` undoes the migration.',
  },
  EndedFromOutside: {
    retryable: false,
    then: 'park',
    advice:
      'Nothing was undone. `causeway retry` begins it again where it stood; `causeway abort` undoes the migration.',
  },
  CompensationFailed: {
    retryable: false,
    then: 'park',
    advice: 'Correct the cause, then `causeway retry` goes on undoing.',
  },
  Defect: {
    retryable: true,
    then: 'park',
    advice:
      'This is a defect of Causeway or of a mapping: `causeway replay` the workflow; correct it, restart the workers, then `causeway retry`.',
  },
} as const satisfies Record<string, FailureClass>;

export type FailureType = keyof typeof failures;

/**
 * What the migration does in this phase. Once traffic has moved no failure takes it back by itself: only an order does, a failed stage, or an incident.
 */
export const consequence = (type: FailureType, phase: Phase): FailureClass['then'] =>
  phase === 'cutover' ? 'park' : failures[type].then;

export const isFailureType = (type: unknown): type is FailureType =>
  typeof type === 'string' && Object.hasOwn(failures, type);

/** What Temporal must not retry, for every retry policy. */
export const notRetryable = (Object.keys(failures) as FailureType[]).filter((type) => !failures[type].retryable);

/** An error whose class is known. `message` names the thing and the place, and never a document's content. */
export class KnownFailure extends Error {
  readonly type: FailureType;
  constructor(type: FailureType, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = type;
    this.type = type;
  }
}
