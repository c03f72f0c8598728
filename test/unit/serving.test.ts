// A worker process ends its activities' pollers while it is cut off, and makes new ones afterwards; workflows are served all the while.
import type { Worker } from '@temporalio/worker';
import { expect, test, vi } from 'vitest';
import { Serving } from '../../workers/serving.ts';
import type { StoreWatch } from '../../workers/store-watch.ts';

/** As far as it is run and shut down. */
class Poller {
  readonly name: string;
  state = 'INITIALIZED';
  #end: () => void = () => undefined;
  #fail: (error: Error) => void = () => undefined;

  constructor(name: string) {
    this.name = name;
  }
  run(): Promise<void> {
    this.state = 'RUNNING';
    return new Promise((resolve, reject) => ([this.#end, this.#fail] = [resolve, reject]));
  }
  getState(): string {
    return this.state;
  }
  shutdown(): void {
    this.state = 'STOPPED';
    this.#end();
  }
  fail(error: Error): void {
    this.state = 'FAILED';
    this.#fail(error);
  }
}

function served() {
  const made: Poller[] = [];
  const make = (name: string) => {
    const poller = new Poller(name);
    made.push(poller);
    return poller as unknown as Worker;
  };
  let why: string | undefined;
  const watch = {
    get suspended() {
      return why;
    },
    until: (suspended: boolean, signal: AbortSignal) =>
      vi.waitFor(() => expect(signal.aborted || (why !== undefined) === suspended).toBe(true), {
        timeout: 5000,
        interval: 5,
      }),
  } as unknown as StoreWatch;
  const activities = () => Promise.resolve([make('lanes'), make('copy')]);
  const workflows = make('workflows');
  const serving = new Serving({ workflows, activities }, [make('lanes'), make('copy')], watch, () => undefined);
  const running = () => made.filter((one) => one.state === 'RUNNING').map((one) => one.name);
  return { serving, made, running, suspend: (now: string | undefined) => (why = now) };
}

test('pollers of activities end while the worker is cut off, and new ones follow', async () => {
  const { serving, made, running, suspend } = served();
  const is = (names: string[]) => vi.waitFor(() => expect(running()).toEqual(names), { timeout: 2000, interval: 5 });
  await is(['workflows', 'lanes', 'copy']);
  suspend('no Redis');
  await is(['workflows']);
  suspend(undefined);
  await is(['workflows', 'lanes', 'copy']);
  expect(made).toHaveLength(5);
  serving.stop();
  await serving.stopped;
  expect(running()).toEqual([]);
});

test('stopped while it is cut off it ends, and a poller that fails ends all of them', async () => {
  const first = served();
  first.suspend('no Redis');
  await vi.waitFor(() => expect(first.running()).toEqual(['workflows']), { timeout: 2000, interval: 5 });
  first.serving.stop();
  await first.serving.stopped;
  const second = served();
  await vi.waitFor(() => expect(second.running()).toHaveLength(3), { timeout: 2000, interval: 5 });
  second.made.at(-1)!.fail(new Error('gone'));
  await expect(second.serving.stopped).rejects.toThrow('gone');
  await vi.waitFor(() => expect(second.running()).toEqual([]), { timeout: 2000, interval: 5 });
});
