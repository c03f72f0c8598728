// A command that asks a store while it restarts, or another node takes over, waits for a moment instead of refusing.
import { setTimeout as sleep } from 'node:timers/promises';
import { KnownFailure } from '../core/failures.ts';

/** A failover takes seconds; somebody who mistyped an address waits as long. */
const outlastMs = 10_000;
const askEveryMs = 500;

/** What `work` answers, or throws once it has failed for so long. `say` is told once what is waited for. */
export async function outlast<T>(work: () => Promise<T>, say: (line: string) => void): Promise<T> {
  const until = performance.now() + outlastMs;
  let hasSaid = false;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const mayPass =
        error instanceof KnownFailure && (error.type === 'StoreUnreachable' || error.type === 'StoreBusy');
      if (!mayPass || performance.now() > until) throw error;
      if (!hasSaid) say(`${error.message} It is asked again for ${outlastMs / 1000} s.`);
      hasSaid = true;
      await sleep(askEveryMs);
    }
  }
}
