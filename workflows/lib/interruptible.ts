// Runs a step until it ends or somebody wants it stopped; a stopped step is cancelled and awaited, never abandoned.
import { CancellationScope, condition, isCancellation } from '@temporalio/workflow';
import { reasonOf, type Reason } from './reason.ts';

export type Outcome<T> =
  | { readonly is: 'done'; readonly result: T }
  | { readonly is: 'stopped' }
  | { readonly is: 'failed'; readonly reason: Reason };

export async function interruptible<T>(step: () => Promise<T>, wanted: () => boolean): Promise<Outcome<T>> {
  const scope = new CancellationScope();
  let outcome: Outcome<T> | undefined;
  const running = scope.run(step).then(
    (result) => {
      outcome = { is: 'done', result };
    },
    (error: unknown) => {
      // A migration that is itself cancelled, not by an order, stops like one that is aborted.
      outcome = isCancellation(error) ? { is: 'stopped' } : { is: 'failed', reason: reasonOf(error) };
    },
  );
  await condition(() => outcome !== undefined || wanted());
  if (outcome === undefined) scope.cancel();
  await running;
  return outcome!;
}
