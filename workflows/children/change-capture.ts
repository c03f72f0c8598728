// Tails the source from before the first read until it is stopped: one reader, lanes by key, and housekeeping beside them.
import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  isCancellation,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { Repaired } from '../../activities/capture/repair.ts';
import type { CaptureProgress } from '../../core/state.ts';
import {
  captureProgressSignal,
  keepCaptureSignal,
  repairUpdate,
  stopCaptureSignal,
  type RepairRequest,
} from '../contract.ts';
import {
  laneLoop,
  readerLoop,
  tellLoop,
  tendLoop,
  unlessCancelled,
  type Course,
  type LoopSettings,
} from '../lib/capture-loops.ts';
import { failure, reasonOf } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { captureControl, control, long, showing } from '../proxies.ts';

export interface CaptureInput {
  readonly migration: string;
  readonly root: string;
  readonly lanes: number;
  readonly settings: LoopSettings;
}

/** Ends when it is told to, or when the data phase is undone. Its positions stand in the target, so that a new run only goes on. */
export async function changeCapture(input: CaptureInput): Promise<void> {
  const course: Course = {
    over: false,
    blocked: false,
    troubles: new Map(),
    tell: teller(input, () => course.troubles),
  };
  let repairing = false;
  let again = false;
  const stop = () => {
    course.over = true;
    again = false;
  };
  setHandler(stopCaptureSignal, stop, { description: 'End change capture' });
  setHandler(keepCaptureSignal, () => void (again = course.over), { description: 'Do not end: begin again' });
  setHandler(
    repairUpdate,
    async (request: RepairRequest): Promise<Repaired> => {
      repairing = true;
      try {
        return await repair(input, course, request);
      } catch (error) {
        throw failure(reasonOf(error));
      } finally {
        repairing = false;
      }
    },
    {
      validator: (_request: RepairRequest) => {
        if (repairing) throw ApplicationFailure.nonRetryable('A repair is running already.', 'OrderRefused');
      },
      description: 'Scan the source and write again what differs; closes a gap. {"dryRun": true} only counts.',
    },
  );
  course.blocked = (await captureControl.gapOf()) !== undefined;
  await course.tell();

  const scope = new CancellationScope();
  const loops = scope.run(() =>
    Promise.all([
      readerLoop(course),
      ...Array.from({ length: input.lanes }, (_, lane) => laneLoop(course, lane, input.settings)),
      tendLoop(course, input.settings),
      tellLoop(course),
    ]),
  );
  const ended = loops.then(
    () => undefined,
    (error: unknown) => {
      course.over = true;
      if (!isCancellation(error)) throw error;
    },
  );
  await condition(() => course.over || (workflowInfo().continueAsNewSuggested && !repairing));
  const renew = !course.over;
  scope.cancel();
  await ended;
  await condition(allHandlersFinished);
  if (renew || again) await continueAsNew<typeof changeCapture>(input);
}

/** The new stream first, then the scan: what changes meanwhile is captured, and the guard settles what both have seen. */
async function repair(input: CaptureInput, course: Course, request: RepairRequest | undefined): Promise<Repaired> {
  const dryRun = request?.dryRun === true;
  if (!dryRun && course.blocked) {
    await control.reopenCapture();
    course.blocked = false;
  }
  const { zone, providers } = input.settings;
  const found = await long.repairGap({
    settings: { zone, providers },
    dryRun,
    deleteMissing: request?.deleteMissing === true,
  });
  if (dryRun) return found;
  const opened = await control.closeGap(found);
  await control.recordAudit('gap repaired', { ...found });
  await course.tell();
  return { ...found, ...(opened && { opened }) };
}

/** How long the root is told each minute where a new capture stands, and how often afterwards, ms: the history of a migration lasts for months. */
const often = { forMs: 60 * 60_000, thenEveryMs: 15 * 60_000 };

/** Tells the root when something has changed: of a gap at once, of the position now and then. */
function teller(input: CaptureInput, troubles: () => ReadonlyMap<string, string>): () => Promise<void> {
  let told = '';
  let toldGap: string | undefined;
  let toldAt = 0;
  const { continuedFromExecutionRunId, startTime } = workflowInfo();
  const isNew = () => continuedFromExecutionRunId === undefined && Date.now() - startTime.getTime() < often.forMs;
  return async () => {
    // Where it stands may be unknown while a store is down; that ends nothing.
    const status = await showing.captureStatus().catch(unlessCancelled);
    if (!status) return;
    const { position, lagMs, gap } = status;
    const progress: CaptureProgress = { position, lagMs, gap: gap && { kind: gap.kind, detail: gap.detail } };
    introduce(input.migration, 'capture', describe(progress, status.events, troubles()));
    const text = JSON.stringify([position, progress.gap]);
    if (text === told) return;
    const gapNow = JSON.stringify(progress.gap);
    const isDue = gapNow !== toldGap || isNew() || Date.now() - toldAt >= often.thenEveryMs;
    if (!isDue) return;
    told = text;
    toldGap = gapNow;
    toldAt = Date.now();
    await getExternalWorkflowHandle(input.root)
      .signal(captureProgressSignal, progress)
      .catch(() => undefined);
  };
}

function describe(progress: CaptureProgress, events: number, troubles: ReadonlyMap<string, string>): string {
  const lines = [
    `## Change capture`,
    '',
    `${progress.lagMs} ms behind at ${progress.position}; ${events} events applied.`,
  ];
  if (progress.gap)
    lines.push(
      '',
      `> **Gap** (${progress.gap.kind}): ${progress.gap.detail}.`,
      '>',
      '> `causeway repair` closes it without starting over; nothing is cut over until then.',
    );
  for (const [what, message] of troubles) lines.push('', `> ${what}: ${message}`);
  return lines.join('\n');
}
