// A child is not cancelled before the server has answered its start.
import { CancellationScope } from '@temporalio/workflow';

type Start = Promise<[started: Promise<string>, completed: Promise<unknown>]>;

/**
 * `start`, with a cancellation of the scope around it passed on once the child has started, or never where it could not. The SDK's core passes one on
 * at once; where it comes between the order to start and the answer to it, neither of the two promises is ever settled, and whoever waits for the
 * step to stop, as every interruptible step is waited for, waits for ever.
 */
export async function startedFirst(start: () => Start): Start {
  const around = CancellationScope.current();
  if (!around.cancellable || around.consideredCancelled) return start();
  const [promises, scope] = await CancellationScope.nonCancellable(async () => {
    const own = new CancellationScope();
    return [await own.run(start), own] as const;
  });
  const [started] = promises;
  around.cancelRequested
    .catch(() => started)
    .then(() => scope.cancel())
    .catch(() => undefined);
  return promises;
}
