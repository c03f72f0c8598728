// `status`, `abort` and `rollback --to old` are answered within 5 s: asked of a migration for which no worker is alive, whose root runs, was cancelled, or
// was terminated. What they order is taken back with the root that has it, so that the migration can be led on from where it stood.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Status } from '../../core/state.ts';
import { Terminal } from './terminal.ts';
import type { World } from './world.ts';

export const promisedMs = 5000;
const asked: readonly (readonly string[])[] = [
  ['status'],
  ['rollback', '--to', 'old', '--reason', 'asked with a clock'],
  ['abort', '--reason', 'asked with a clock'],
];

export class Prompt {
  readonly terminal: Terminal;
  /** What was not answered in time, or not in words. */
  readonly findings: string[] = [];
  /** State and condition, as they were met. */
  readonly met = new Set<string>();
  readonly #world: World;
  #worker: ChildProcess | undefined;

  constructor(world: World) {
    this.#world = world;
    this.terminal = new Terminal(world);
  }

  async command(...args: string[]): Promise<void> {
    const { code, stdout, stderr } = await this.terminal.run(args);
    if (code !== 0) throw new Error(`causeway ${args.join(' ')} ended with ${String(code)}: ${stdout}${stderr}`);
  }

  async work(): Promise<void> {
    this.#worker ??= await this.#world.worker();
  }

  async kill(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    if (!worker) return;
    worker.kill('SIGKILL');
    if (worker.exitCode === null && worker.signalCode === null) await once(worker, 'exit');
  }

  /** Kills the worker as soon as it is so, which may be for an instant only. */
  async caught(check: (status: Status) => boolean, timeout = 60_000): Promise<void> {
    const until = Date.now() + timeout;
    for (;;) {
      const status = await this.#world.query().catch(() => undefined);
      if (status && check(status)) break;
      if (Date.now() > until) throw new Error(`never so: ${JSON.stringify({ ...status, collections: undefined })}`);
      await sleep(10);
    }
    await this.kill();
  }

  /** With the worker that is there, if any: only what changes nothing. Then with none, everything. */
  async ask(state: string, { cancels = true } = {}): Promise<void> {
    if (this.#worker) await this.#askAll(state, 'a worker alive', [asked[0]!]);
    await this.kill();
    const root = this.#world.temporal.workflow.getHandle(`migration/${this.#world.name}`);
    const runs = async () => (await root.describe().catch(() => undefined))?.status.name === 'RUNNING';
    if (await runs()) {
      await this.#askAll(state, 'no worker', asked);
      if (cancels) await root.cancel();
      if (cancels) await this.#askAll(state, 'root cancelled, no worker', asked);
      await root.terminate('by an operator');
    }
    await this.#askAll(state, 'no root, no worker', asked);
    // What was begun without a root waits for a worker: it is not to be carried out.
    await this.#world.temporal.workflow
      .getHandle(`migration/${this.#world.name}/rollback`)
      .terminate('test')
      .catch(() => undefined);
  }

  async #askAll(state: string, condition: string, commands: readonly (readonly string[])[]): Promise<void> {
    const where = `${state} (${condition})`;
    this.met.add(where);
    for (const args of commands) {
      const idle = await this.terminal.idle();
      const { code, stdout, stderr, ms } = await this.terminal.run(args, 45_000);
      const busy = Math.max(idle, await this.terminal.idle());
      const name = args[0]!;
      const atRest = this.terminal.time(`${name}: ${condition}`, ms, busy);
      const told = `${where}: ${name} ended with ${String(code)} after ${Math.round(ms)} ms`;
      const said = `${stdout}${stderr}`;
      if (process.env['SOAK_SAY'] !== undefined)
        process.stdout.write(`  ${told}: ${said.trim().replaceAll('\n', ' / ').slice(0, 300)}\n`);
      if (atRest > promisedMs)
        this.findings.push(`${told}, while one that does nothing took ${Math.round(busy)} ms: ${said}`);
      if (code === null || said.trim().length < 20 || /\n\s+at .+:\d+|TypeError|\bundefined\b/.test(said))
        this.findings.push(`${told}, and said: ${said}`);
      if (condition !== 'a worker alive' && code === 3 && !/worker/.test(said))
        this.findings.push(`${told}, and named no worker: ${said}`);
    }
  }
}
