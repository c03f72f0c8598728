// The end of the old system: a last snapshot that was verified, collections closed and renamed, and nothing before somebody says so.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Snapshot } from '../../stores/snapshots/snapshot.ts';
import { World } from '../support/world.ts';

let world: World;
let counts: Record<string, number>;
/** The application's own, which all its documents pass. */
const usersValidator = { _id: { $exists: true } };

const collections = async () =>
  (await world.source.listCollections({}, { nameOnly: true }).toArray()).map((one) => one.name).sort();

beforeAll(async () => {
  world = await World.open('end');
  await world.seed(1500, 0.02);
  counts = {};
  for (const name of await collections()) counts[name] = await world.source.collection(name).countDocuments({});
  await world.source.command({ collMod: 'users', validator: usersValidator, validationLevel: 'moderate' });
  await world.worker();
  await writeFile(
    join(world.home, 'settings.json'),
    JSON.stringify({
      stages: [{ name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 0 }],
      quarantineBudget: 0.9,
      decommission: true,
      configurationDirectory: join(world.home, 'configuration'),
    }),
  );
  const started = await world.causeway(['start', '--config', join(world.home, 'settings.json')]);
  expect(started.code, started.stderr + started.stdout).toBe(0);
  await world.until((status) => status.waitingFor?.includes('"decommission"') === true, 150_000);
});
afterAll(() => world.close());

test('before the approval the command refuses, and the old collections are there', async () => {
  const refused = await world.causeway(['decommission', '--yes']);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain('causeway approve decommission');
  expect(await collections()).toEqual(expect.arrayContaining(['token_usage', 'users']));
});

test(
  'approved too early it is refused: nothing goes back, nothing is renamed, and it is asked again',
  { timeout: 120_000 },
  async () => {
    await world.rows(
      `insert into migration_control.late_writes (collection_id, source_id, version, op_index, deleted)
     select id, 'somebody', 1, 0, false from migration_control.collections where source = 'token_usage'`,
    );
    expect((await world.causeway(['approve', 'decommission'])).code).toBe(0);
    const parked = await world.until((status) => status.state === 'parked', 60_000);
    expect(parked.lastError).toMatchObject({ phase: 'cutover', type: 'DecommissionRefused' });
    expect(parked.lastError!.message).toContain('were written after its writes had moved');
    expect(await world.rows('select distinct write_mode, percentage from migration_control.routing')).toEqual([
      { write_mode: 'new_system', percentage: 100 },
    ]);
    expect(await collections()).toEqual(expect.arrayContaining(['token_usage', 'users']));
    // The new system's changes still go to the old one.
    const some = await world.source.collection('token_usage').find().limit(50).toArray();
    const [row] = await world.rows<{ source_id: string }>(
      `update api_usage set output_tokens = 4711 where id = (select min(id) from api_usage where source_id = any($1)) returning source_id`,
      [some.map((one) => String(one._id))],
    );
    const inOld = () => world.source.collection('token_usage').findOne({ _id: new ObjectId(row!.source_id) });
    await expect.poll(inOld, { timeout: 20_000 }).toMatchObject({ output_tokens: 4711 });
    await world.rows('delete from migration_control.late_writes');
    expect((await world.causeway(['retry'])).code).toBe(0);
    await world.until((status) => status.waitingFor?.includes('"decommission"') === true, 60_000);
  },
);

test('approved: saved, verified, renamed and closed; the way back is gone', { timeout: 240_000 }, async () => {
  // The application goes on in the new system.
  let over = false;
  const writing = (async () => {
    for (let n = 0; !over; n++) {
      await world.rows('update api_usage set output_tokens = $1 where id = (select min(id) from api_usage)', [n]);
      await sleep(20);
    }
  })();
  await sleep(500);
  expect((await world.causeway(['approve', 'decommission'])).code).toBe(0);
  await world.until((status) => status.state === 'completed', 120_000);
  over = true;
  await writing;
  const [saved] = await world.rows<{ detail: { folder: string; collections: Record<string, number> } }>(
    `select detail from migration_control.audit_log where action = 'old system saved'`,
  );
  const kept = Object.entries(saved!.detail.collections);
  expect(kept.length).toBeGreaterThan(6);
  for (const [name, documents] of kept) expect([name, documents]).toEqual([name, counts[name]]);
  const snapshot = await Snapshot.open(saved!.detail.folder);
  await snapshot!.verify(() => undefined);
  const now = await collections();
  for (const [name] of kept) {
    // The old name stays, empty and closed: a forgotten writer is refused.
    await expect(world.source.collection(name).insertOne({ a: 1 })).rejects.toThrow(/validation/);
    expect(await world.source.collection(name).countDocuments({})).toBe(0);
    expect(now).toContain(`${name}_retired`);
    expect(await world.source.collection(`${name}_retired`).countDocuments({})).toBe(counts[name]);
  }
  await expect(world.source.collection('token_usage_retired').insertOne({ a: 1 })).rejects.toThrow(/validation/);
  expect(
    await world.rows(`select 1 from pg_trigger where tgname like 'causeway%' and tgname <> 'causeway_fill'`),
  ).toEqual([]);
  const back = await world.causeway(['rollback', '--to', 'old', '--reason', 'test', '--wait']);
  expect(back.code).toBe(1);
  expect(back.stdout + back.stderr).toContain('taken out of use');
});

test(
  'the last snapshot is put back under the old names, with the validation of before',
  { timeout: 120_000 },
  async () => {
    const [saved] = await world.rows<{ detail: { folder: string } }>(
      `select detail from migration_control.audit_log where action = 'old system saved'`,
    );
    const { folder } = saved!.detail;
    const plan = await world.causeway(['decommission', 'restore', folder, '--json']);
    expect(plan.code, plan.stderr).toBe(0);
    expect(JSON.parse(plan.stdout)).toMatchObject({ restored: false });
    expect(await world.source.collection('token_usage').countDocuments({})).toBe(0);
    const done = await world.causeway(['decommission', 'restore', folder, '--yes']);
    expect(done.code, done.stderr).toBe(0);
    for (const name of ['token_usage', 'users'])
      expect(await world.source.collection(name).countDocuments({})).toBe(counts[name]);
    const [users] = await world.source.listCollections({ name: 'users' }).toArray();
    expect((users as { options?: object }).options).toMatchObject({ validator: usersValidator });
    await world.source.collection('token_usage').insertOne({ again: 1 });
    const again = await world.causeway(['decommission', 'restore', folder, '--yes']);
    expect(again.code).toBe(1);
    expect(again.stderr + again.stdout).toContain('exists in the old MongoDB already');
  },
);

test('on request what only served the migration goes too; the rows stay', { timeout: 120_000 }, async () => {
  const before = await world.rows<{ n: number }>('select count(*)::int as n from api_usage');
  const done = await world.causeway(['decommission', '--yes', '--remove-ledger', '--json']);
  expect(done.code, done.stderr + done.stdout).toBe(0);
  expect(await world.rows(`select 1 from pg_namespace where nspname = 'migration_control'`)).toEqual([]);
  expect(
    await world.rows(
      `select 1 from information_schema.columns where table_schema = 'public' and column_name = 'source_id'`,
    ),
  ).toEqual([]);
  expect(await world.rows<{ n: number }>('select count(*)::int as n from api_usage')).toEqual(before);
  expect((await world.target.listCollections({}, { nameOnly: true }).toArray()).map((one) => one.name)).toEqual([
    'analysis_results_optimized',
  ]);
});
