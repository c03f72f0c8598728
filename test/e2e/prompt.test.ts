// What is promised at once is answered at once, whoever is dead: a small part of the walk through every state (`npm run soak -- prompt`).
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Prompt, promisedMs } from '../support/prompt.ts';
import { World } from '../support/world.ts';

let world: World;
let prompt: Prompt;
let start: string[];

beforeAll(async () => {
  world = await World.open('prompt');
  prompt = new Prompt(world);
  const config = join(world.home, 'settings.json');
  const stages = [{ name: 'first', percentage: 10, soakSeconds: 600 }];
  await writeFile(
    config,
    JSON.stringify({ stages, configurationDirectory: join(world.home, 'configuration'), quarantineBudget: 0.9 }),
  );
  start = ['start', '--config', config];
  await world.seed(300, 0.02);
  await prompt.work();
  await prompt.command(...start);
  await world.until((status) => Object.values(status.routing).some((one) => one.percentage === 10));
});
afterAll(() => world.close());

test('a validation says what it waits for, as soon as it does', async () => {
  await world.temporal.workflow.getHandle(`migration/${world.name}/capture`).terminate('by an operator');
  // It waits for capture, and is ended by the test.
  const waits = await prompt.terminal.run(['validate', '--collection', 'sessions'], 30_000, /nobody runs it/);
  expect(waits).toMatchObject({ code: null, stderr: expect.stringContaining('nobody runs it') as string });
});

test('`status` waits neither for a lock on what it would read nor for a store', async () => {
  const tables = await world.rows<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'migration_control'`,
  );
  const lock = await world.pool.connect();
  try {
    // Whoever has some of them and waits for others is let pass first.
    await vi.waitFor(
      async () => {
        await lock.query('rollback');
        await lock.query('begin');
        await lock.query(`lock table ${tables.map(({ name }) => name).join(', ')} in access exclusive mode`);
      },
      { timeout: 60_000, interval: 200 },
    );
    const idle = await prompt.terminal.idle();
    const { code, stdout, ms } = await prompt.terminal.run(['status'], 45_000);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('cutover') as string });
    expect(prompt.terminal.time('status', ms, idle)).toBeLessThan(promisedMs);
  } finally {
    await lock.query('rollback');
    lock.release();
  }
});

test('`status`, `rollback` and `abort` answer within 5 s without a worker, and say what they left', async () => {
  await prompt.ask('a stage', { cancels: false });
  expect(prompt.findings).toEqual([]);
  expect(prompt.met.size).toBe(3);
});
