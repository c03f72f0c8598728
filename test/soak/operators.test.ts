// Random commands, signals, updates, cancel, terminate and dead workers, while an application writes through the library: no acknowledged write is lost,
// nothing that counts is removed, every order is answered in time and in words, and what `status` advises leads to the end or back.
// The same orders against the workflows alone, thousands of them: test/workflows/operators.test.ts.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { checkEqual } from '../support/checker.ts';
import { RoutedWriter } from '../support/routed-writer.ts';
import { tellTimings } from '../support/terminal.ts';
import { World } from '../support/world.ts';
import { begin, beginnings, type Beginning } from './beginnings.ts';
import { conditions, Operator, type Account } from './operator.ts';
import { seeds, size } from './options.ts';
import { randomFrom } from './random.ts';

const { seconds = 600, documents = 200, rate = 15 } = size;
const ordersOfARound = 9;
const wayOutMs = 180_000;
const stages = [
  { name: 'first', percentage: 10, soakSeconds: 600 },
  { name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 600, approve: true },
];
const settings = {
  stages,
  sampleSeconds: 1,
  gateSeconds: 20,
  quarantineBudget: 0.9,
  fenceMs: 2000,
  // A machine that has no time to spare is no reason to go back here.
  policy: { queryTime: { floorMs: 60_000 }, errorRate: { increase: 1 }, throughput: { minimumReads: 1_000_000 } },
};

const idsOf = async ({ source }: World): Promise<Set<string>> => {
  const ids = new Set<string>();
  for (const { name } of await source.listCollections({}, { nameOnly: true }).toArray())
    for await (const { _id } of source.collection(name).find({}, { projection: { _id: 1 } }))
      ids.add(`${name} ${String(_id)}`);
  return ids;
};

/** Each beginning in turn, and each with another condition than the last time. */
const cellOf = (seed: number, number: number) => {
  const n = number + seed * 5;
  const beginning: Beginning = beginnings[n % beginnings.length]!;
  return { beginning, condition: conditions[(n + Math.floor(n / beginnings.length)) % conditions.length]! };
};

async function round(seed: number, number: number, account: Account): Promise<void> {
  const random = randomFrom(seed * 1000 + number);
  const began = performance.now();
  const world = await World.open('operators');
  const said: string[] = [];
  const before = account.findings.length;
  const config = join(world.home, 'settings.json');
  const say = (what: string) => void said.push(`${Math.round((performance.now() - began) / 1000)} s: ${what}`);
  const operator = new Operator({ world, random, account, config, say });
  const watching = new AbortController();
  const { beginning, condition } = cellOf(seed, number);
  let writer: RoutedWriter | undefined;
  let led = '';
  const find = (what: string, found: readonly string[]) => {
    if (found.length > 0) account.findings.push(`${what}: ${found.slice(0, 5).join('; ')} (${found.length})`);
  };
  try {
    await writeFile(config, JSON.stringify({ ...settings, configurationDirectory: join(world.home, 'configuration') }));
    await world.seed(documents, 0.02, undefined, seed);
    const seeded = await idsOf(world);
    await operator.ensureWorker();
    say(`it begins with: ${beginning}; then: ${condition}`);
    const watch = operator.watch(watching.signal);
    await begin(beginning, { operator, world, start: ['start', '--config', config] }, async () => {
      writer = await RoutedWriter.start(world, rate, randomFrom(seed * 1000 + number + 1_000_000));
    });
    await operator.meets(condition);
    for (let n = 0; n < ordersOfARound; n++) {
      await operator.order();
      await sleep(random() * 400);
    }
    await operator.settled();
    await operator.ensureWorker();
    const way = random() < 0.6 ? 'forward' : 'back';
    led = await operator.leadOut(way, wayOutMs);
    say(`it led to: ${led}`);
    watching.abort();
    await watch;
    if (led === 'nowhere') {
      const { stdout } = await operator.command(['status']);
      account.findings.push(`nothing that status advises led ${way} within ${wayOutMs} ms: ${stdout}`);
    }
    await sleep(1500);
    if (led === 'completed' || led === 'retired') {
      await writer?.pause();
      find('lost in the new system', (await writer?.differencesOnNew(world)) ?? []);
      writer?.resume();
    }
    if (led === 'completed')
      await operator.command(['rollback', '--to', 'old', '--reason', 'the end', '--wait'], wayOutMs);
    await writer?.stop();
    if (led !== 'retired') {
      find('lost in the old system', (await writer?.differences(world.source)) ?? []);
      const now = await idsOf(world);
      find(
        'removed from the old system',
        [...seeded].filter((id) => !now.has(id)),
      );
    }
    if (led === 'completed') {
      // Capture goes on where it stood, whatever was ended meanwhile.
      let different = await checkEqual(world.environment as never);
      for (let n = 0; n < 30 && different.length > 0; n++) {
        await sleep(1000);
        different = await checkEqual(world.environment as never);
      }
      find(
        'the targets differ',
        different.map((one) => JSON.stringify(one)),
      );
    }
    if (led === 'undone')
      find(
        'left of an undone migration',
        (
          await world.rows<{ tablename: string }>(
            `select tablename from pg_tables where schemaname in ('public', 'migration_control')`,
          )
        ).map((one) => one.tablename),
      );
  } catch (error) {
    account.findings.push(`the round broke off: ${String(error)}`);
  } finally {
    watching.abort();
    await writer?.stop();
    account.rounds++;
    const isFound = account.findings.length > before;
    const cell = `${beginning}, then ${condition}`;
    account.coverage.set(`begun: ${cell}`, (account.coverage.get(`begun: ${cell}`) ?? 0) + 1);
    process.stdout.write(
      `  seed ${seed}, round ${number} (${cell}): ${led} after ${Math.round((performance.now() - began) / 1000)} s, ${said.length} steps, ${writer ? `${writer.counts.old} writes to the old system, ${writer.counts.new} to the new, ${writer.counts.errors} errors` : 'no writes'}\n`,
    );
    if (isFound)
      process.stdout.write(
        `${[...said, ...account.findings.slice(before).map((one) => `FOUND ${one}`)].map((one) => `    ${one}`).join('\n')}\n`,
      );
    await operator.killWorker();
    await world.close();
  }
}

test.each(seeds)(
  'whatever an operator does, nothing is lost and nothing is wedged (seed %i)',
  { timeout: seconds * 1000 + 1_200_000 },
  async (seed) => {
    const account: Account = {
      rounds: 0,
      orders: 0,
      timings: new Map(),
      coverage: new Map(),
      findings: [],
    };
    const until = Date.now() + seconds * 1000;
    for (let number = 0; Date.now() < until; number++) await round(seed, number, account);
    process.stdout.write(`  ${account.rounds} rounds, ${account.orders} orders, ${account.findings.length} findings\n`);
    tellTimings(account.timings);
    for (const [where, times] of [...account.coverage].sort()) process.stdout.write(`    ${times} × ${where}\n`);
    expect(account.findings).toEqual([]);
  },
);
