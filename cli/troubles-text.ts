// What capture cannot do at the moment, in sentences.
import type { CaptureStatus } from '../control/capture.ts';
import { failures } from '../core/failures.ts';

/** Loops that fail, then documents that wait, then workers that take no work: who, since when, why, and what to do. */
export const troublesOf = ({
  troubles,
  waiting,
  suspended,
}: Pick<CaptureStatus, 'troubles' | 'waiting' | 'suspended'>): string[] => [
  ...troubles.map(
    ({ who, type, message, times, since }) =>
      `${who} fails since ${since} (${times} times noted; ${type}): ${message} ${failures[type].advice}`,
  ),
  ...waiting.map(
    ({ collection, sourceId, cause, tries, since }) =>
      `${collection} ${sourceId} waits since ${since} (tried again ${tries} times): ${cause}`,
  ),
  ...suspended.map(({ holder, why }) => `The worker of ${holder} takes no work: ${why}.`),
];
