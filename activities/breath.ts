// Long work of the processor in pieces: everything else of this process, capture's lanes above all, waits while one runs.
import { setImmediate as nextTurn } from 'node:timers/promises';

const mostMs = 5;

/** To be asked in every round of a loop; lets the others have their turn where that is due. */
export class Breath {
  #since = performance.now();

  async take(): Promise<void> {
    if (performance.now() - this.#since < mostMs) return;
    await nextTurn();
    this.#since = performance.now();
  }
}
