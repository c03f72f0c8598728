// The command as a process with a clock: how long each took, against what one that does nothing took at the same time.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { command } from './command.ts';
import type { World } from './world.ts';

/** A command that waits for a worker, or follows something long, is ended then, ms. */
const patienceMs = 60_000;
/** What a process of the command that only tells its options takes on a machine at rest, ms. */
const restingMs = 400;
/** What any other and the servers it asks need of the processors, against that one: the rest of its time it waits, however busy the machine is. */
const work = 3;

export interface Timing {
  calls: number;
  maxMs: number;
  /** Without what the processors were late with just then. */
  maxAtRest: number;
}

export interface Timed {
  /** null: ended by the test, because it waited. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export class Terminal {
  readonly timings: Map<string, Timing>;
  readonly #world: World;

  constructor(world: World, timings = new Map<string, Timing>()) {
    this.#world = world;
    this.timings = timings;
  }

  /** `said`: ended as soon as it has said this. */
  async run(args: readonly string[], most = patienceMs, said?: RegExp): Promise<Timed> {
    const began = performance.now();
    const named = args.includes('--help') ? args : [...args, '--migration', this.#world.name];
    const child = spawn(process.execPath, [command, ...named], {
      env: { ...process.env, ...this.#world.environment },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (part: Buffer) => (stdout += part.toString('utf8')));
    child.stderr.on('data', (part: Buffer) => (stderr += part.toString('utf8')));
    if (said) child.stderr.on('data', () => said.test(stderr) && child.kill('SIGKILL'));
    const timer = setTimeout(() => child.kill('SIGKILL'), most);
    const [code] = (await once(child, 'close')) as [number | null];
    clearTimeout(timer);
    return { code, stdout, stderr, ms: performance.now() - began };
  }

  /** What a process that asks nobody takes now, ms. */
  async idle(): Promise<number> {
    const { ms } = await this.run(['status', '--help']);
    this.time('status --help', ms);
    return ms;
  }

  /** Kept under `name`; the answer is what it would have been on a machine at rest, ms. */
  time(name: string, ms: number, idle = restingMs): number {
    const atRest = ms - work * Math.max(0, idle - restingMs);
    const timing = this.timings.get(name) ?? { calls: 0, maxMs: 0, maxAtRest: 0 };
    this.timings.set(name, {
      calls: timing.calls + 1,
      maxMs: Math.max(timing.maxMs, ms),
      maxAtRest: Math.max(timing.maxAtRest, atRest),
    });
    return atRest;
  }
}

export function tellTimings(timings: ReadonlyMap<string, Timing>): void {
  for (const [name, { calls, maxMs, maxAtRest }] of [...timings].sort())
    process.stdout.write(
      `    ${name}: ${calls} times, at most ${Math.round(maxMs)} ms, ${Math.round(maxAtRest)} ms at rest\n`,
    );
}
