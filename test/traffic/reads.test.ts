// Routed and shadow reads against real stores: the routed side's answer is the answer, and nothing of the other side reaches the application.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { makeControlSchema } from '../../control/schema.ts';
import { readTraffic, type TrafficSums } from '../../control/traffic.ts';
import { isFinding, noiseOf, ratioOf } from '../../core/ratio.ts';
import { quantile } from '../../core/histogram.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { RoutedReads, type RoutedReadOptions } from '../../traffic/reads.ts';
import type { ShadowFinding } from '../../traffic/shadow.ts';
import type { Side } from '../../traffic/router.ts';
import { cuttable } from '../support/cuttable.ts';
import { World } from '../support/world.ts';
import { within } from '../support/within.ts';

let world: World;
let pool: ReturnType<typeof openPool>;
const unhandled: unknown[] = [];
const note = (error: unknown) => void unhandled.push(error);

beforeAll(async () => {
  process.on('unhandledRejection', note);
  world = await World.open('reads');
  pool = openPool(world.environment['TARGET_POSTGRES_URL']!, 8);
  await makeControlSchema(pool, world.name);
  await world.rows('create table things (id text primary key, value integer not null)');
  await world.rows(`insert into things select 'thing ' || n, n from generate_series(0, 9) n`);
  await world.source
    .collection('things')
    .insertMany(Array.from({ length: 10 }, (_, n) => ({ _id: `thing ${n}`, value: n }) as never));
});
afterAll(async () => {
  process.off('unhandledRejection', note);
  await pool.end();
  await world.close();
});

let open: RoutedReads[] = [];
let findings: ShadowFinding[] = [];
beforeEach(() => {
  open = [];
  findings = [];
});
afterEach(async () => {
  await Promise.all(open.map((reads) => reads.close()));
  await world.rows('truncate migration_control.traffic_samples');
  expect(unhandled).toEqual([]);
});

let side: Side = 'old';
let writeMode: 'old' | 'dual_write' | 'new_system' = 'dual_write';
function routed(options: Partial<RoutedReadOptions> = {}): RoutedReads {
  const reads = new RoutedReads({
    router: { sideOfRead: () => side, writeModeOf: () => writeMode },
    postgres: world.environment['TARGET_POSTGRES_URL']!,
    reportMs: 100,
    ...options,
    shadow: { rate: 1, recheckMs: [100, 300], onShadow: (finding) => findings.push(finding), ...options.shadow },
  });
  open.push(reads);
  return reads;
}

const old = async (n: number) =>
  (await world.source.collection<{ _id: string; value: number }>('things').findOne({ _id: `thing ${n}` }))?.value;
const fresh = async (n: number) =>
  (await pool.query<{ value: number }>('select value from things where id = $1', [`thing ${n}`])).rows[0]?.value;
const both = (n: number) => ({ old: () => old(n), new: () => fresh(n) });
const sums = async (of: Side, collection = 'things'): Promise<TrafficSums | undefined> =>
  (await readTraffic(pool, 60)).find((row) => row.side === of && row.collection === collection);
const found = () => vi.waitFor(() => expect(findings.length).toBeGreaterThan(0), { timeout: 5000, interval: 10 });

test('the routed side answers; both are counted where they were read', async () => {
  const reads = routed({ shadow: { rate: 0 } });
  side = 'old';
  for (let n = 0; n < 6; n++) expect(await reads.routedRead('things', 'u', both(n))).toBe(n);
  side = 'new';
  for (let n = 0; n < 4; n++) expect(await reads.routedRead('things', 'u', both(n))).toBe(n);
  await reads.close();
  expect(await sums('old')).toMatchObject({ reads: 6, errors: 0 });
  const after = (await sums('new'))!;
  expect(after).toMatchObject({ reads: 4, errors: 0 });
  expect(Object.values(after.histogram).reduce((total, count) => total + count, 0)).toBe(4);
  expect(quantile(after.histogram, 1)!).toBeGreaterThan(0);
  expect(after.latency_ms).toBeGreaterThan(0);
});

test('equal answers; an answer that the caller changes afterwards is compared as it was', async () => {
  side = 'new';
  const reads = routed({ shadow: { normalise: (answer) => structuredClone(answer) } });
  const sides = { old: async () => ({ value: await old(1) }), new: async () => ({ value: await fresh(1) }) };
  const answer = await reads.routedRead('things', 'u', sides);
  answer.value = 99;
  await found();
  expect(findings).toEqual([{ collection: 'things', class: 'equal' }]);
});

test('a difference that is gone some moments later is lag', async () => {
  side = 'new';
  await world.source.collection('things').updateOne({ _id: 'thing 2' as never }, { $set: { value: 20 } });
  setTimeout(() => void world.rows(`update things set value = 20 where id = 'thing 2'`), 150);
  expect(await routed().routedRead('things', 'u', both(2))).toBe(2);
  await found();
  expect(findings).toEqual([{ collection: 'things', class: 'lag' }]);
});

test('a difference that change capture has not passed yet is lag, one that it has passed is a defect', async () => {
  side = 'new';
  await world.rows(`update things set value = 31 where id = 'thing 3'`);
  const token = `insert into migration_control.capture_stream (token, opened_version, version, last_version, last_op_index, lanes, images, seen_at)
    values ('{}', 0, 0, 0, 0, 4, 'updateLookup', clock_timestamp() + $1::interval)`;
  try {
    await world.rows(token, ['-1 minute']);
    expect(await routed().routedRead('things', 'u', both(3))).toBe(31);
    await found();
    expect(findings).toEqual([{ collection: 'things', class: 'lag' }]);
    findings = [];
    await world.rows('delete from migration_control.capture_stream');
    await world.rows(token, ['1 minute']);
    await routed().routedRead('things', 'u', both(3));
    await found();
    expect(findings).toEqual([{ collection: 'things', class: 'defect' }]);
    findings = [];
    const expected = (a: unknown, b: unknown) => a === 3 && b === 31;
    await routed({ shadow: { expected } }).routedRead('things', 'u', both(3));
    await found();
    expect(findings).toEqual([{ collection: 'things', class: 'expected' }]);
  } finally {
    await world.rows('delete from migration_control.capture_stream');
    await world.rows(`update things set value = 3 where id = 'thing 3'`);
  }
});

test('what the other side throws, at once or later, is counted and never seen', async () => {
  side = 'new';
  const reads = routed();
  const throwing = [
    () => {
      throw new Error('at once');
    },
    async () => {
      await sleep(20);
      throw new Error('later');
    },
    async () => (await pool.query('select nothing from nowhere')).rows.length,
  ];
  for (const broken of throwing) expect(await reads.routedRead('things', 'u', { ...both(4), old: broken })).toBe(4);
  await vi.waitFor(() => expect(findings.map((one) => one.class)).toEqual(['failed', 'failed', 'failed']));
  await reads.close();
  expect((await sums('new'))!.shadow).toMatchObject({ failed: 3, equal: 0 });
  expect((await sums('new'))!.errors).toBe(0);
});

test('callbacks of the application that throw are none of a read', async () => {
  side = 'new';
  const reads = routed({
    shadow: {
      normalise: () => {
        throw new Error('normalise');
      },
      onShadow: (finding) => {
        findings.push(finding);
        throw new Error('onShadow');
      },
    },
  });
  expect(await reads.routedRead('things', 'u', both(5))).toBe(5);
  await found();
  expect(findings[0]!.class).toBe('failed');
});

test('a slow other side: nobody waits, it is given up, and no more run behind than may', async () => {
  side = 'new';
  const reads = routed({ shadow: { timeoutMs: 200, concurrency: 2, recheckMs: [] } });
  let running = 0;
  let most = 0;
  const slow = async (): Promise<number> => {
    most = Math.max(most, ++running);
    try {
      return (await pool.query<{ one: number }>('select 6 as one from pg_sleep(1)')).rows[0]!.one;
    } finally {
      running--;
    }
  };
  const since = performance.now();
  for (let n = 0; n < 20; n++) expect(await reads.routedRead('things', 'u', { ...both(6), old: slow })).toBe(6);
  expect(performance.now() - since).toBeLessThan(within(1000));
  await vi.waitFor(() => expect(findings.length).toBe(2), { timeout: 3000 });
  // Given up, but still under way: their places are not given away.
  await reads.routedRead('things', 'u', { ...both(6), old: slow });
  expect(most).toBe(2);
  await reads.close();
  expect((await sums('new'))!.shadow).toMatchObject({ failed: 2, skipped: 19 });
  expect((await sums('new'))!.ratios.pairs).toBe(2);
  await vi.waitFor(() => expect(running).toBe(0), { timeout: 3000 });
});

test('a failed read on the new side is an error; answered by the old one only if asked, and only while that one knows', async () => {
  side = 'new';
  const broken = { old: () => old(7), new: async () => (await pool.query('select 1 from nowhere')).rows.length };
  const away = {
    old: () => old(7),
    new: async () => {
      const none = openPool('postgres://nobody@127.0.0.1:1/none', 1);
      return (await none.query('select 1').finally(() => none.end())).rows.length;
    },
  };
  const plain = routed();
  await expect(plain.routedRead('things', 'u', broken)).rejects.toThrow('nowhere');
  const lenient = routed({ fallBack: true });
  expect(await lenient.routedRead('things', 'u', away)).toBe(7);
  // An error of the query itself is none of the store's, and is not papered over.
  await expect(lenient.routedRead('things', 'u', broken)).rejects.toThrow('nowhere');
  writeMode = 'new_system';
  await expect(lenient.routedRead('things', 'u', away)).rejects.toThrow();
  writeMode = 'dual_write';
  await Promise.all([plain.close(), lenient.close()]);
  expect(await sums('new')).toMatchObject({ reads: 4, errors: 4, histogram: {} });
  expect(await sums('old')).toMatchObject({ reads: 1, errors: 0 });
});

test('a read that hangs is counted as slow before it ends, and once', async () => {
  side = 'new';
  const reads = routed({ hangMs: 300, shadow: { rate: 0 } });
  const hung = reads.routedRead('things', 'u', {
    old: () => old(1),
    new: async () => (await pool.query('select pg_sleep(1.2)')).rows.length,
  });
  await vi.waitFor(async () => expect((await sums('new'))?.reads).toBe(1), { timeout: 1000, interval: 50 });
  expect(quantile((await sums('new'))!.histogram, 0.5)!).toBeGreaterThan(250);
  await hung;
  await reads.close();
  expect((await sums('new'))!.reads).toBe(1);
});

test('A/A first: the same side against itself tells how much a ratio may differ by chance', async () => {
  side = 'old';
  const reads = routed({ shadow: { concurrency: 1 } });
  const steady = { old: () => sleep(4, 1), new: () => sleep(4, 1) };
  const pairs = async () => ({
    noise: (await sums('old'))?.noise.pairs ?? 0,
    ratios: (await sums('old'))?.ratios.pairs ?? 0,
  });
  // One at a time, each waited for, so that none is left out.
  const sample = async (n: number, sides: { old: () => Promise<number>; new: () => Promise<number> }) => {
    for (let i = 0; i < n; i++) {
      await reads.routedRead('things', 'u', sides);
      await sleep(25);
    }
    await reads.metrics.report();
    await reads.metrics.report();
  };
  await sample(50, steady);
  expect(await pairs()).toEqual({ noise: 50, ratios: 0 });
  await sample(60, steady);
  const same = (await sums('old'))!;
  expect(same.noise.pairs).toBe(56);
  expect(same.ratios.pairs).toBe(54);
  const noise = noiseOf(same.noise)!;
  expect(noise.low).toBeLessThan(1);
  expect(noise.high).toBeGreaterThan(1);
  await world.rows('truncate migration_control.traffic_samples');
  await sample(40, { old: () => sleep(4, 1), new: () => sleep(14, 1) });
  const slower = ratioOf((await sums('old'))!.ratios)!;
  expect(slower.low).toBeGreaterThan(1.3);
  expect(isFinding(slower, noise)).toBe(true);
  expect(isFinding(slower, null)).toBe(false);
});

test('without PostgreSQL counts wait and add up; the application notices nothing', async () => {
  side = 'old';
  const line = await cuttable(world.environment['TARGET_POSTGRES_URL']!);
  const reads = routed({ postgres: line.url, shadow: { rate: 0 } });
  const answer = { old: () => Promise.resolve(1), new: () => Promise.resolve(1) };
  try {
    await reads.routedRead('things', 'u', answer);
    await vi.waitFor(async () => expect((await sums('old'))?.reads).toBe(1), { timeout: 3000 });
    line.cut();
    const since = performance.now();
    for (let n = 0; n < 500; n++) {
      await reads.routedRead('things', 'u', answer);
      if (n % 100 === 0) await sleep(120);
    }
    expect(performance.now() - since).toBeLessThan(within(3000));
    expect((await sums('old'))!.reads).toBe(1);
    await line.mend();
    await vi.waitFor(async () => expect((await sums('old'))!.reads).toBe(501), { timeout: 10_000 });
  } finally {
    await reads.close();
    line.cut();
  }
});

test('a report that arrived though nobody heard so is counted once; names without end do not fill the memory', async () => {
  const { writeTraffic } = await import('../../control/traffic.ts');
  const client = await pool.connect();
  const reads = routed({ shadow: { rate: 0 }, reportMs: 60_000 });
  try {
    for (let n = 0; n < 1000; n++) reads.metrics.countWrites(`collection ${n}`, 'new', 1, n % 2);
    await reads.metrics.report();
    const rows = await readTraffic(pool, 60);
    expect(rows.length).toBeLessThanOrEqual(401);
    expect(rows.reduce((total, row) => total + row.writes, 0)).toBe(1000);
    expect(rows.reduce((total, row) => total + row.write_errors, 0)).toBe(500);
    const [row] = rows;
    const again = { ...row!, shadow: {} as never };
    await writeTraffic(client, 'a', 1, [again]);
    await writeTraffic(client, 'a', 1, [again]);
    const [{ count }] = (await world.rows<{ count: string }>(
      `select count(*) from migration_control.traffic_samples where router = 'a'`,
    )) as [{ count: string }];
    expect(count).toBe('1');
  } finally {
    client.release();
  }
});
