// The one place where an activity's errors become Temporal failures: named by class, without a document's content.
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { diskFailure } from '../core/disk.ts';
import { failures, KnownFailure } from '../core/failures.ts';

/** Errors of our own code say nothing of documents; others' messages might quote values, so only their name is kept. */
const speaksPlainly = new Set(['TypeError', 'RangeError', 'MappingError', 'Error', 'ReferenceError']);

export function asFailure(error: unknown): unknown {
  if (error instanceof ApplicationFailure || error instanceof CancelledFailure) return error;
  if (error instanceof KnownFailure) {
    return ApplicationFailure.create({
      type: error.type,
      message: error.message,
      nonRetryable: !failures[error.type].retryable,
    });
  }
  const disk = diskFailure(error);
  if (disk) return asFailure(disk);
  const name = error instanceof Error ? error.name : typeof error;
  const code = (error as { code?: unknown } | null)?.code;
  // The same code on the same data fails the same way: trying again only hides it.
  const nonRetryable = name === 'TypeError' || name === 'RangeError' || name === 'ReferenceError';
  const plain =
    error instanceof Error && speaksPlainly.has(name) ? `: ${error.message.split('\n', 1)[0]!.slice(0, 300)}` : '';
  const failure = ApplicationFailure.create({
    type: 'Defect',
    nonRetryable,
    message: `${name}${typeof code === 'string' ? ` ${code}` : ''}${plain}`,
  });
  failure.stack = [`${failure.name}: ${failure.message}`, ...framesOf(error)].join('\n');
  return failure;
}

/** Where it was thrown. A stack begins with the message, which may quote values. */
function framesOf(error: unknown): string[] {
  if (!(error instanceof Error) || error.stack === undefined) return [];
  const head = error.stack.indexOf(error.message);
  const frames = head < 0 ? error.stack : error.stack.slice(head + error.message.length);
  return frames.split('\n').filter((line) => /^\s+at /.test(line));
}

const beatEveryMs = 1000;

/**
 * Every function of `activities`, its errors classified, a cancellation passed on as such. It heartbeats every second while the function runs, so that
 * a dead worker is noticed within seconds; `beats: false` is for functions whose own heartbeats carry a position.
 */
export function classified<T extends Record<string, (...args: never[]) => Promise<unknown>>>(
  activities: T,
  options = { beats: true },
): T {
  const entries = Object.entries(activities).map(([name, run]) => {
    const wrapped = async (...args: never[]) => {
      const context = Context.current();
      const beat = options.beats ? setInterval(() => context.heartbeat(), beatEveryMs) : undefined;
      try {
        return await run(...args);
      } catch (error) {
        const { cancellationSignal } = context;
        throw cancellationSignal.aborted ? cancellationSignal.reason : asFailure(error);
      } finally {
        clearInterval(beat);
      }
    };
    return [name, wrapped] as const;
  });
  return Object.fromEntries(entries) as T;
}
