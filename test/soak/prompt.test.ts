// `status`, `abort` and `rollback --to old` answer within 5 s in every state, with and without workers, also after cancel and terminate. In the fuzzer
// (operators) the same are asked while workers are at work; a small part of this walk is in `npm test` (test/e2e/prompt.test.ts).
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Status } from '../../core/state.ts';
import { Prompt } from '../support/prompt.ts';
import { tellTimings } from '../support/terminal.ts';
import { World } from '../support/world.ts';

const stages = [
  { name: 'first', percentage: 10, soakSeconds: 600 },
  { name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 600, approve: true },
];
let world: World;
let prompt: Prompt;
let start: string[];

beforeEach(async () => {
  world = await World.open('prompt');
  prompt = new Prompt(world);
  const config = join(world.home, 'settings.json');
  const configurationDirectory = join(world.home, 'configuration');
  await writeFile(
    config,
    JSON.stringify({ stages, configurationDirectory, sampleSeconds: 1, quarantineBudget: 0.9, fenceMs: 4000 }),
  );
  start = ['start', '--config', config];
  await world.seed(300, 0.02);
});
afterEach(() => world.close());

const completed = () => world.until((status) => status.state === 'completed');
/** The root was ended: another goes on where it stood. */
async function goOn(...options: string[]): Promise<void> {
  await prompt.command(...start, ...options);
  await prompt.work();
}

function judge(): void {
  process.stdout.write(`  ${prompt.met.size} states: ${[...prompt.met].join('; ')}\n`);
  tellTimings(prompt.terminal.timings);
  expect(prompt.findings).toEqual([]);
}

test('from nothing to the copy, and undone', { timeout: 600_000 }, async () => {
  await prompt.ask('nothing');
  await prompt.command(...start);
  await prompt.ask('begun, and never taken');
  await goOn('--until', 'preparation');
  await completed();
  await prompt.ask('preparation');
  await goOn('--until', 'data');
  await prompt.caught(({ phase, state }) => phase === 'schema' || state === 'completed');
  await prompt.ask('schema');
  await goOn('--until', 'data');
  await prompt.caught(
    ({ phase, state, collections }) =>
      state === 'completed' || (phase === 'data' && Object.keys(collections).length > 0),
  );
  await prompt.ask('data');
  await goOn('--until', 'data');
  await completed();
  await prompt.command(...start);
  await world.until((status) => Object.values(status.routing).some((one) => one.percentage === 10));
  await prompt.command('abort', '--reason', 'over');
  await prompt.caught(({ state }) => state === 'compensating' || state === 'aborted');
  await prompt.ask('undoing');
  await prompt.command(...start).catch(() => undefined);
  await prompt.work();
  // Ended before the order was written down, the root's successor does not know of it.
  await prompt.terminal.run(['abort', '--reason', 'over']);
  await world.until((status) => status.state === 'aborted');
  await prompt.ask('aborted');
  judge();
});

const share = (percentage: number) =>
  world.until(({ routing }) => Object.values(routing).some((one) => one.percentage === percentage));

test('a stage, parked, and paused', { timeout: 600_000 }, async () => {
  await prompt.work();
  await prompt.command(...start);
  await share(10);
  await prompt.ask('a stage');
  await goOn();
  await share(10);
  // The phase that goes on is begun a moment after its root.
  const cancelled = world.until((status) => status.state === 'parked');
  const cancelling = setInterval(() => {
    void world.temporal.workflow.getHandle(`migration/${world.name}/cutover`).cancel();
  }, 1000);
  await cancelled.finally(() => clearInterval(cancelling));
  await prompt.ask('parked');
  await goOn();
  await share(10);
  await prompt.command('pause');
  await prompt.ask('paused');
  judge();
});

/** A stage that has just begun has nothing to end yet. */
async function advance(check: (status: Status) => boolean): Promise<void> {
  for (const until = Date.now() + 120_000; !check(await world.query()); await sleep(1000)) {
    if (Date.now() > until) throw new Error('it does not go on');
    await prompt.terminal.run(['cutover', 'advance']);
  }
}

test('writes moved, and to the end', { timeout: 600_000 }, async () => {
  const writes = async () => {
    await advance((status) => status.waitingFor?.includes('writes') === true);
    await prompt.command('approve', 'writes');
    await share(100);
  };
  await prompt.work();
  await prompt.command(...start);
  await share(10);
  await writes();
  await prompt.ask('writes moved');
  await goOn();
  await share(100);
  await prompt.command('rollback', '--to', 'first', '--reason', 'back');
  await prompt.caught(({ state }) => state === 'compensating' || state === 'parked');
  await prompt.ask('rolling back');
  await goOn();
  await world.until((status) => status.phase === 'cutover');
  // Ended before the order was written down, the root's successor does not know of it.
  await prompt.terminal.run(['rollback', '--to', 'first', '--reason', 'back']);
  await world.until((status) => status.state === 'parked');
  await prompt.command('retry');
  await writes();
  await advance((status) => status.state === 'completed');
  await prompt.ask('completed');
  await prompt.work();
  await prompt.command('decommission', '--yes');
  await prompt.ask('decommissioned');
  judge();
});
