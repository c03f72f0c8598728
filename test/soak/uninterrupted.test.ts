// An application that reads and writes through the library, while the writes move there and back: not one of its operations fails.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { RoutedWriter } from '../support/routed-writer.ts';
import { World } from '../support/world.ts';
import { randomFrom } from './random.ts';

let world: World;
let writer: RoutedWriter;
const config = () => ['--config', join(world.home, 'settings.json')];

beforeAll(async () => {
  world = await World.open('uninterrupted');
  await world.seed(1500, 0.02);
  await writeFile(
    join(world.home, 'settings.json'),
    JSON.stringify({
      stages: [{ name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 3600 }],
      quarantineBudget: 0.9,
      policy: { queryTime: { floorMs: 60_000 }, throughput: { minimumReads: 1_000_000 } },
    }),
  );
  await world.worker();
  expect((await world.causeway(['start', '--until', 'data', '--wait', ...config()])).code).toBe(0);
  writer = await RoutedWriter.start(world, 100, randomFrom(3));
});
afterAll(async () => {
  await writer?.stop();
  await world.close();
});

const until = (mode: string) =>
  vi.waitFor(
    async () => {
      const modes = await world.rows('select distinct write_mode from migration_control.routing');
      // What is waited for says more than that it did not come.
      const { phase, state, lastError } = await world.query();
      expect({ modes, phase, state, lastError }).toMatchObject({ modes: [{ write_mode: mode }] });
    },
    { timeout: 240_000, interval: 50 },
  );

test('there and back, twice', { timeout: 800_000 }, async () => {
  for (const forward of [['start', ...config()], ['retry']]) {
    const { code, stderr } = await world.causeway(forward);
    expect(code, stderr).toBe(0);
    await until('new_system');
    await sleep(2000);
    expect((await world.causeway(['rollback', '--to', 'old', '--reason', 'test'])).code).toBe(0);
    await until('old');
    await world.until((status) => status.state === 'parked', 60_000);
  }
  await sleep(1000);
  await writer.stop();
  expect(writer.counts.old).toBeGreaterThan(100);
  expect(writer.counts.new).toBeGreaterThan(100);
  expect([...writer.errors]).toEqual([]);
  expect(await writer.differences(world.source)).toEqual([]);
});
