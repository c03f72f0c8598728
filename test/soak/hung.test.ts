// A worker that hangs in the middle of a batch, with locks in PostgreSQL and MongoDB: the others go on without it, and when it wakes nothing is undone.
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startLegacyWriter } from '../../seed/legacy-writer.ts';
import { cuttable } from '../support/cuttable.ts';
import { World } from '../support/world.ts';
import { completed, startWorker, Watch } from './chaos.ts';

let world: World;
beforeAll(async () => {
  world = await World.open('hung');
});
afterAll(() => world.close());

test('hung before its commit: its lanes move, and its late commit does not count', { timeout: 300_000 }, async () => {
  await world.seed(1500, 0.02);
  const writer = startLegacyWriter({ url: world.environment['SOURCE_MONGODB_URL']!, perSecond: 100, seed: 31 });
  const watch = new Watch(world.environment);
  const first = await startWorker(world);
  expect((await world.causeway(['start', '--until', 'data', '--wait'])).code).toBe(0);
  first.kill('SIGKILL');
  // The 10th batch of this process: by then all lanes run.
  const hung = await startWorker(world, { CAUSEWAY_KILL_AT: 'lane.before-commit:10', CAUSEWAY_KILL_WITH: 'SIGSTOP' });
  try {
    const holdersOf = async () =>
      (await world.rows<{ holder: string }>('select distinct holder from migration_control.capture_position')).map(
        (row) => row.holder,
      );
    const stopped = () => execFileSync('ps', ['-o', 'stat=', '-p', String(hung.pid)], { encoding: 'utf8' });
    await expect.poll(stopped, { timeout: 120_000, interval: 200 }).toMatch(/^T/);
    const since = Date.now();
    const living = await startWorker(world);
    try {
      await expect
        .poll(async () => (await holdersOf()).every((holder) => holder.endsWith(`-${living.pid}`)), {
          timeout: 60_000,
          interval: 200,
        })
        .toBe(true);
      const moved = Date.now();
      await watch.back(60_000);
      process.stdout.write(
        `  lanes of a hung worker moved after ${moved - since} ms, its backlog was gone after ${Date.now() - since} ms\n`,
      );
      hung.kill('SIGCONT');
      await sleep(5000);
      await writer.stop();
      expect(await watch.finished({ environment: world.environment, migration: world.name }, 120_000)).toEqual(
        completed,
      );
      expect(await watch.differences(world.environment)).toEqual([]);
    } finally {
      living.kill('SIGKILL');
    }
  } finally {
    hung.kill('SIGKILL');
    await writer.stop();
    await watch.close();
  }
});

test(
  'cut off from a store that another worker reaches, a worker takes no work, says so, and takes work again',
  { timeout: 240_000 },
  async () => {
    const line = await cuttable(world.environment['TARGET_REDIS_URL']!);
    const cutOff = await startWorker(world, { TARGET_REDIS_URL: line.url });
    let said = '';
    cutOff.stderr!.on('data', (part: Buffer) => (said += part.toString('utf8')));
    const living = await startWorker(world);
    try {
      line.cut();
      await expect.poll(() => said, { timeout: 60_000, interval: 200 }).toContain('takes no work: the target Redis');
      const status = async () => (await world.causeway(['status'])).stdout;
      expect(await status()).toMatch(/The worker of .* takes no work: the target Redis cannot be reached from here/);
      const lanes = () =>
        world.rows<{ holder: string }>('select distinct holder from migration_control.capture_position');
      await expect
        .poll(async () => (await lanes()).every(({ holder }) => holder.endsWith(`-${living.pid}`)), { timeout: 60_000 })
        .toBe(true);
      await line.mend();
      await expect.poll(() => said, { timeout: 60_000, interval: 200 }).toContain('takes work again');
      await expect
        .poll(async () => (await lanes()).some(({ holder }) => holder.endsWith(`-${cutOff.pid}`)), { timeout: 60_000 })
        .toBe(true);
      expect(await status()).not.toContain('takes no work');
    } finally {
      line.cut();
      cutOff.kill('SIGKILL');
      living.kill('SIGKILL');
    }
  },
);
