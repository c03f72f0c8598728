// A worker killed at every named point of copy and capture, while the source is written to: at the end everything is equal.
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { killPoints, type KillPoint } from '../../activities/kill-points.ts';
import { startLegacyWriter } from '../../seed/legacy-writer.ts';
import { World } from '../support/world.ts';
import { completed, startWorker, Watch } from './chaos.ts';

let world: World;
beforeAll(async () => {
  world = await World.open('chaos');
});
afterAll(() => world.close());

/** The copy has its own point; it comes first, because later there is nothing left to copy. */
const order: readonly KillPoint[] = [
  'load.before-ledger',
  ...killPoints.filter((point) => point !== 'load.before-ledger' && !point.startsWith('retry.')),
];

test(
  'a worker killed at every named point; then two that share the lanes, one of them killed',
  { timeout: 400_000 },
  async () => {
    await world.seed(4000, 0.02);
    const writer = startLegacyWriter({ url: world.environment['SOURCE_MONGODB_URL']!, perSecond: 120, seed: 21 });
    const watch = new Watch(world.environment);
    try {
      for (const [n, point] of order.entries()) {
        const doomed = await startWorker(world, { CAUSEWAY_KILL_AT: point });
        if (n === 0) expect((await world.causeway(['start', '--until', 'data'])).code).toBe(0);
        const ended = once(doomed, 'exit') as Promise<[number | null, string | null]>;
        const signal = await Promise.race([
          ended.then(([, how]) => how),
          new Promise((resolve) => setTimeout(resolve, 60_000, 'not reached')),
        ]);
        doomed.kill('SIGKILL');
        expect([point, signal]).toEqual([point, 'SIGKILL']);
      }
      const workers = [await startWorker(world), await startWorker(world)];
      try {
        const holders = () =>
          world.rows<{ holder: string; seen: boolean }>(
            `select distinct p.holder, coalesce(w.seen_at > now() - interval '6 s', false) as seen from migration_control.capture_position p left join migration_control.capture_workers w using (holder)`,
          );
        await expect.poll(async () => (await holders()).filter((row) => row.seen).length, { timeout: 40_000 }).toBe(2);
        const gone = `-${workers[0]!.pid}`;
        workers[0]!.kill('SIGKILL');
        const killed = Date.now();
        await expect
          .poll(async () => (await holders()).some((row) => row.holder.endsWith(gone)), {
            timeout: 30_000,
            interval: 100,
          })
          .toBe(false);
        const moved = Date.now() - killed;
        process.stdout.write(`  lanes of a killed worker moved after ${moved} ms\n`);
        expect(moved).toBeLessThan(15_000);
        await watch.back(60_000);
        await writer.stop();
        expect(await watch.finished({ environment: world.environment, migration: world.name }, 120_000)).toEqual(
          completed,
        );
      } finally {
        for (const worker of workers) worker.kill('SIGKILL');
      }
      expect(await watch.differences(world.environment)).toEqual([]);
    } finally {
      await writer.stop();
      await watch.close();
    }
  },
);
