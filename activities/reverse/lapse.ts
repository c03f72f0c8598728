// A closing ends with its fence: the old system's writers must not wait for a PostgreSQL that is away or frozen.
import { KnownFailure } from '../../core/failures.ts';
import type { Resources } from '../resources.ts';
import { reopenOwn } from './closing.ts';
import type { Fence } from './fence.ts';

/** Opens, from memory, what `token` has closed when the fence is over, unless the flip is sent before. */
export class Lapse {
  readonly #timer: NodeJS.Timeout;
  #isOver = false;

  constructor(resources: Pick<Resources, 'source'>, collections: readonly string[], token: string, fence: Fence) {
    this.#timer = setTimeout(() => {
      this.#isOver = true;
      // What is not opened now housekeeping opens once PostgreSQL is back.
      reopenOwn(resources, collections, token).catch(() => undefined);
    }, fence.until - performance.now());
  }

  /** From here on PostgreSQL alone knows the outcome. Throws SwitchRefused where the collections have been opened. */
  readonly stop = (): void => {
    if (this.#isOver)
      throw new KnownFailure('SwitchRefused', 'The fence passed before the writes could be moved. Nothing was moved.');
    clearTimeout(this.#timer);
  };

  /** Harmless after `stop`. */
  end(): void {
    clearTimeout(this.#timer);
  }
}
