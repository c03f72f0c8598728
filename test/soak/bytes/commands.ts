// The same steps as their users take them: commands, and a worker in a process of its own, begun anew in between.
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { RetryReport } from '../../../activities/quarantine.ts';
import type { Resources } from '../../../activities/resources.ts';
import type { Difference } from '../../../control/verification-report.ts';
import { World } from '../../support/world.ts';
import { arrived, comeBack, type Machine } from './machine.ts';

export class Commands implements Machine {
  readonly world: World;
  readonly resources: Resources;
  readonly #config: string;
  #worker: Awaited<ReturnType<World['worker']>> | undefined;

  private constructor(world: World, resources: Resources, config: string) {
    this.world = world;
    this.resources = resources;
    this.#config = config;
  }

  static async open(): Promise<Commands> {
    const world = await World.open('bytes_whole');
    const config = join(world.home, 'settings.json');
    const settings = {
      stages: [{ name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 3600 }],
      sampleSeconds: 1,
      quarantineBudget: 1,
      // What a busy machine is slow with is no reason to go back here.
      policy: { queryTime: { floorMs: 60_000 }, errorRate: { increase: 1 }, throughput: { minimumReads: 1_000_000 } },
      performance: { tolerance: 1000 },
      configurationDirectory: join(world.home, 'configuration'),
    };
    await writeFile(config, JSON.stringify(settings));
    return new Commands(world, await world.resources('observer'), config);
  }

  async #command(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.world.causeway(args);
    if (code !== 0)
      throw new Error(
        `causeway ${args.join(' ')} ended with ${code}: ${(stderr + stdout).slice(-1500)} ${await this.#failedChecks()}`,
      );
    return stdout;
  }

  /** What the last validations have found; nothing where none failed. */
  async #failedChecks(): Promise<string> {
    const rows = await this.world.rows(
      `select r.collection, c.key as "check", c.value from migration_control.validation_results r, jsonb_each(r.individual_results::jsonb) c
       where c.value ->> 'status' not in ('passed', 'skipped') order by r."timestamp" desc limit 3`,
    );
    return rows.map((row) => JSON.stringify(row).slice(0, 3000)).join('\n');
  }

  async copy(): Promise<void> {
    await this.run();
    await this.#command('start', '--until', 'data', '--wait', '--config', this.#config);
  }

  async run(): Promise<void> {
    await this.pause();
    this.#worker = await this.world.worker();
  }

  async pause(): Promise<void> {
    const child = this.#worker;
    this.#worker = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  caughtUp(): Promise<string[]> {
    return arrived(this);
  }

  async verify(repair = false): Promise<Difference[]> {
    const args = ['verify', '--restart', '--json', ...(repair ? ['--repair'] : [])];
    const { code, stdout, stderr } = await this.world.causeway(args);
    if (code !== 0 && code !== 1)
      throw new Error(`causeway verify ended with ${code}: ${(stderr + stdout).slice(-1500)}`);
    const { differences } = JSON.parse(stdout) as { differences: Difference[] };
    if (code === 1 && differences.length === 0) throw new Error(`causeway verify: ${stdout.slice(-1500)}`);
    return differences;
  }

  async validate(): Promise<string[]> {
    await this.#command('validate');
    return [];
  }

  async retry(): Promise<RetryReport> {
    return JSON.parse(await this.#command('quarantine', 'retry', '--json')) as RetryReport;
  }

  async snapshot(name: string): Promise<void> {
    await this.#command('checkpoint', 'create', name, '--config', this.#config);
  }

  async restore(name: string): Promise<void> {
    await this.#command('checkpoint', 'restore', name, '--yes', '--config', this.#config);
  }

  async moveWrites(): Promise<void> {
    await this.#command('start', '--config', this.#config);
    await this.world.until(
      ({ routing }) => Object.values(routing).some((route) => route.writeMode === 'new_system'),
      180_000,
    );
  }

  broughtBack(): Promise<string[]> {
    return comeBack(this);
  }

  async moveBack(): Promise<void> {
    await this.#command('rollback', '--to', 'old', '--reason', 'bytes');
    await vi.waitFor(
      async () => {
        const { state, lastError, routing } = await this.world.query();
        const modes = new Set(Object.values(routing).map((route) => route.writeMode));
        if (state !== 'parked' || modes.size !== 1 || !modes.has('old'))
          throw new Error(`not back yet: ${state} ${[...modes].join()} ${lastError?.message ?? ''}`);
        if (lastError) throw new Error(`parked with ${lastError.type}: ${lastError.message}`);
      },
      { timeout: 120_000, interval: 300 },
    );
  }

  async close(): Promise<void> {
    await this.resources.close();
    await this.world.close();
  }
}
