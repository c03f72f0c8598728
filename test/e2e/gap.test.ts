// What the stream cannot tell: the oplog rolled over while capture was down, a collection dropped. The migration stops and says so; repair closes the gap.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { once } from 'node:events';
import type { Db } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seedSource } from '../../seed/index.ts';
import { checkEqual } from '../support/checker.ts';
import { smallSource, type SmallSource } from '../support/small-oplog.ts';
import { World } from '../support/world.ts';

let world: World;
let source: SmallSource;
let db: Db;
let worker: Awaited<ReturnType<World['worker']>>;
beforeAll(async () => {
  world = await World.open('gap');
  source = await smallSource(world.environment, 300);
  world.environment['SOURCE_MONGODB_URL'] = source.url;
  db = source.client.db();
  await seedSource({ url: source.url, documents: 4000, dirty: 0.02, seed: 9, plantedFile: world.planted });
  const stages = [{ name: 'phase_1_reads', percentage: 10, soakSeconds: 3600 }];
  await writeFile(join(world.home, 'settings.json'), JSON.stringify({ stages, quarantineBudget: 1 }));
  worker = await world.worker();
  const started = await world.causeway(['start', '--config', join(world.home, 'settings.json')]);
  expect(started.stderr).toBe('');
  await world.until((status) => status.routing['token_usage']?.percentage === 10);
});
afterAll(async () => {
  await world.close();
  await source.close();
});

const json = async <T>(args: string[]): Promise<T> => {
  const { stdout, stderr } = await world.causeway([...args, '--json']);
  try {
    return JSON.parse(stdout) as T;
  } catch {
    throw new Error(`no JSON: ${stdout} ${stderr}`);
  }
};
type Found = { scanned: number; rewritten: number; deleted: number };

test('an oplog that rolled over while nobody listened', async () => {
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  const usage = db.collection('token_usage');
  const ids = (
    await usage
      .find({}, { projection: { _id: 1 } })
      .limit(120)
      .toArray()
  ).map((one) => one._id);
  await usage.updateMany({ _id: { $in: ids.slice(0, 60) } }, { $inc: { output_tokens: 1 } });
  await usage.deleteMany({ _id: { $in: ids.slice(60, 100) } });
  await usage.insertMany(
    ids.slice(0, 30).map((_, i) => ({
      timestamp: new Date(),
      provider: 'deepseek',
      model_name: 'm',
      input_tokens: i,
      output_tokens: 1,
      cost: 0.5,
      session_id: `gap-${i}`,
      analysis_type: 'a',
    })),
  );
  for (let i = 0; i < 10; i++)
    await db.collection('unrelated').insertMany(Array.from({ length: 100 }, (_, n) => ({ n })));
  worker = await world.worker();

  const status = await world.until((one) => one.state === 'gap');
  expect(status.waitingFor).toBe('causeway repair');
  expect(status.lastError).toMatchObject({
    type: 'CaptureGap',
    advice: expect.stringContaining('causeway repair') as string,
  });
  expect((await world.status()).capture.gap).toMatchObject({
    detail: expect.stringMatching(/can no longer tell|does not accept/) as string,
  });
  const refused = await world.causeway(['cutover', 'set', '50']);
  expect(refused.code).not.toBe(0);
  expect(`${refused.stdout}${refused.stderr}`).toMatch(/gap/);

  const before = await checkEqual(world.environment as never);
  expect(before.length).toBeGreaterThan(100);
  // 60 changed and 30 new ones are written, 40 deleted; what a dry run counts, the repair does.
  expect(await json<Found>(['repair', '--dry-run'])).toMatchObject({ rewritten: 90, deleted: 40 });
  expect((await checkEqual(world.environment as never)).length).toBe(before.length);
  expect(await json<Found>(['repair'])).toMatchObject({ rewritten: 90, deleted: 40 });
  expect(await checkEqual(world.environment as never)).toEqual([]);

  await world.until((one) => one.state === 'running' && one.capture.gap === null);
  expect((await world.causeway(['cutover', 'set', '50'])).code).toBe(0);
  // Capture goes on from where the repair began.
  await usage.updateOne({ _id: ids[0]! }, { $inc: { output_tokens: 1 } });
  await expect.poll(() => checkEqual(world.environment as never), { timeout: 10_000 }).toEqual([]);
});

test('a collection dropped: its documents stay until somebody says they may go', async () => {
  const documents = await db.collection('stock_daily_quotes').countDocuments();
  expect(documents).toBeGreaterThan(0);
  await db.collection('stock_daily_quotes').drop();
  const status = await world.until((one) => one.state === 'gap');
  expect(status.lastError?.message).toMatch(/stock_daily_quotes was dropped/);
  const rows = () =>
    world.rows<{ count: string }>('select count(*) from market_data').then((found) => Number(found[0]!.count));
  const there = await rows();
  const refused = await world.causeway(['repair']);
  expect(refused.code).not.toBe(0);
  expect(`${refused.stdout}${refused.stderr}`).toMatch(/--delete-missing/);
  expect(await rows()).toBe(there);
  expect(await json<Found>(['repair', '--delete-missing'])).toMatchObject({ deleted: documents });
  expect(await rows()).toBe(0);
  await world.until((one) => one.state === 'running');
  expect(await checkEqual(world.environment as never)).toEqual([]);
});

test('a collection dropped while nobody listened, and another during the repair', async () => {
  /** The other collection that feeds the table stays as it is. */
  const copied = () =>
    world
      .rows<{ count: string }>(
        `select count(*) from api_usage u join migration_control.ledger l using (source_id)
         join migration_control.collections c on c.id = l.collection_id where c.source = 'token_usage'`,
      )
      .then((found) => Number(found[0]!.count));
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  await db.collection('token_usage').drop();
  for (let i = 0; i < 10; i++)
    await db.collection('unrelated').insertMany(Array.from({ length: 100 }, (_, n) => ({ n })));
  worker = await world.worker();
  await world.until((one) => one.state === 'gap');
  const there = await copied();
  expect(there).toBeGreaterThan(100);

  const counted = await world.causeway(['repair', '--dry-run']);
  expect(counted.stdout).toMatch(/refuses to delete it/);
  const refused = await world.causeway(['repair']);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/token_usage.*--delete-missing/)]);
  expect(await copied()).toBe(there);

  // The stream was opened anew: the repair is not over, and something else happens.
  await db.collection('sessions').drop();
  await expect
    .poll(async () => (await world.status()).capture.gap?.detail, { timeout: 20_000 })
    .toMatch(/then, while that was repaired, the source collection sessions was dropped/);
  const status = await world.until((one) => one.state === 'gap');
  expect(status.waitingFor).toBe('causeway repair');
  expect((await world.causeway(['repair', '--delete-missing'])).stdout).toMatch(/gap is closed/);
  expect(await copied()).toBe(0);
  await world.until((one) => one.state === 'running' && one.capture.gap === null);
  await db.collection<{ _id: string }>('sessions').insertOne({ _id: 'again', session_id: 'again' } as never);
  await expect.poll(() => checkEqual(world.environment as never), { timeout: 20_000 }).toEqual([]);
});
