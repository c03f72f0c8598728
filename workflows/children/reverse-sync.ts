// New system -> old MongoDB, from the write cutover until decommission, so that going back loses nothing.
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { keepReverseSignal, stopReverseSignal } from '../contract.ts';
import { reverseLoops, tellLoop, type Course } from '../lib/capture-loops.ts';
import { introduce } from '../lib/report.ts';
import { control } from '../proxies.ts';

export interface ReverseInput {
  readonly migration: string;
  readonly settings: { readonly zone: string; readonly providers: readonly string[] };
}

/** Ends when it is told to, or when the way back is taken down. Anchor and positions stand in the target, so that a new run only goes on. */
export async function reverseSync(input: ReverseInput): Promise<void> {
  const course: Course = {
    over: false,
    blocked: false,
    troubles: new Map(),
    tell: async () => {
      const status = await control.reverseStatus();
      if (status)
        introduce(
          input.migration,
          'reverse',
          [
            '## Reverse sync',
            '',
            `${status.documents} documents brought back to the old system, ${status.waiting} wait (${status.lagMs} ms); ${status.conflicts} conflicts, ${status.lateWrites} late writes to the old system.`,
            ...[...course.troubles].map(([what, message]) => `\n> ${what}: ${message}`),
          ].join('\n'),
        );
    },
  };
  let again = false;
  const stop = () => {
    course.over = true;
    again = false;
  };
  setHandler(stopReverseSignal, stop, { description: 'End the reverse sync' });
  setHandler(keepReverseSignal, () => void (again = course.over), { description: 'Do not end: begin again' });
  await course.tell();
  const scope = new CancellationScope();
  const ended = scope
    .run(() => Promise.all([reverseLoops(course, input.settings), tellLoop(course)]))
    .then(
      () => undefined,
      (error: unknown) => {
        course.over = true;
        if (!isCancellation(error)) throw error;
      },
    );
  await condition(() => course.over || workflowInfo().continueAsNewSuggested);
  const renew = !course.over;
  scope.cancel();
  await ended;
  await condition(allHandlersFinished);
  if (renew || again) await continueAsNew<typeof reverseSync>(input);
}
