// A repair deletes by a list of what it has not met: that list is proven whole first, and the source is asked again for what is to go.
import { readdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { repairGap } from '../../activities/capture/repair.ts';
import { enroll } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { makePostgres } from '../../activities/targets.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
const order = { settings: { zone: 'Asia/Shanghai', providers: [] }, dryRun: false, deleteMissing: true };

beforeAll(async () => {
  world = await World.open('repair_list');
  await world.seed(600, 0, ['token_usage']);
  resources = await world.resources();
  await makeControlSchema(resources.postgres, world.name);
  await makePostgres(resources, ['token_usage']);
  await enroll(resources, 'token_usage', 'token_usage');
});
afterAll(async () => {
  await resources.close();
  await world.close();
});
beforeEach(async () => {
  await repairGap(resources, order, () => undefined);
});

const usage = () => world.source.collection('token_usage');
const rows = async () => Number((await world.rows<{ n: string }>('select count(*) as n from api_usage'))[0]!.n);

test('a list that has lost keys deletes nothing, and a whole one only what is gone', async () => {
  const all = await usage().countDocuments();
  expect(await rows()).toBe(all);
  await usage().deleteOne({});
  for (const lose of [
    'truncate migration_control.repair_seen',
    `delete from migration_control.repair_seen where source_id = (select min(source_id) from migration_control.repair_seen)`,
    `update migration_control.repair_seen set source_id = source_id || 'f' where source_id = (select max(source_id) from migration_control.repair_seen)`,
  ]) {
    // Whoever compares documents after the first thousand meets what another did to the list meanwhile.
    const losing = Object.create(resources.postgres) as Resources['postgres'];
    let lost = 0;
    losing.query = (async (sql: string, values: unknown[]) => {
      if (sql.includes('count(*) as keys')) {
        lost++;
        await world.rows(lose);
      }
      return resources.postgres.query(sql, values);
    }) as never;
    await expect(repairGap({ ...resources, postgres: losing }, order, () => undefined)).rejects.toMatchObject({
      type: 'StoreBusy',
      message: expect.stringMatching(/list .* not whole/) as string,
    });
    expect(lost).toBe(1);
    expect(await rows()).toBe(all);
  }
  expect(await repairGap(resources, order, () => undefined)).toMatchObject({ rewritten: 0, deleted: 1 });
  expect(await rows()).toBe(all - 1);
  expect(await world.rows('select 1 from migration_control.repair_seen')).toEqual([]);
});

test('what has come back since the scan is written, not deleted', async () => {
  const all = await usage().countDocuments();
  const gone = (await usage().findOneAndDelete({}))!;
  const coming = Object.create(resources.postgres) as Resources['postgres'];
  coming.query = (async (sql: string, values: unknown[]) => {
    const result = await resources.postgres.query(sql, values);
    if (sql.includes('count(*) as keys')) await usage().insertOne(gone);
    return result;
  }) as never;
  const found = await repairGap({ ...resources, postgres: coming }, order, () => undefined);
  expect(found).toMatchObject({ rewritten: 1, deleted: 0 });
  expect(await rows()).toBe(all);
});

test('an empty list with a ledger that is not empty is refused, and says what was written already', async () => {
  const all = await usage().find().toArray();
  await usage().updateOne({}, { $inc: { output_tokens: 1 } });
  await usage().deleteMany({ _id: { $nin: all.slice(0, 3).map((one) => one._id) } });
  const careful = { ...order, deleteMissing: false };
  await expect(repairGap(resources, careful, () => undefined)).rejects.toMatchObject({
    type: 'ConfigurationInvalid',
    message: expect.stringMatching(/\b1 that differed were written again; that stays/) as string,
  });
  await usage().deleteMany({});
  await expect(repairGap(resources, careful, () => undefined)).rejects.toMatchObject({
    message: expect.stringMatching(
      /no longer in the source, and 0 are\. Nothing was written\. Put them back/,
    ) as string,
  });
  expect(await rows()).toBe(all.length);
  // And where the scan alone says so, not even what may be deleted is.
  await usage().insertMany(all);
  const other = await world.resources('other');
  const collection = other.source.db.collection.bind(other.source.db);
  let reads = 0;
  other.source.db.collection = ((name: string) => {
    const real = collection(name);
    if (name === 'token_usage' && ++reads === 1) return collection('nothing_here');
    return real;
  }) as never;
  await expect(repairGap(other, order, () => undefined)).rejects.toMatchObject({
    type: 'StoreBusy',
    message: expect.stringMatching(/met no document, and there are some/) as string,
  });
  expect(await rows()).toBe(all.length);
  await other.close();
});

test('no temporary table outlives its transaction: behind a pooler it would be another one', async () => {
  const folders = ['activities', 'control', 'stores', 'cli', 'lineage', 'traffic'];
  const files = (
    await Promise.all(
      folders.map((folder) =>
        readdir(folder, { recursive: true }).then((names) => names.map((name) => `${folder}/${name}`)),
      ),
    )
  )
    .flat()
    .filter((name) => name.endsWith('.ts'));
  expect(files.length).toBeGreaterThan(100);
  for (const file of files)
    for (const statement of (await readFile(file, 'utf8')).split(/create temp(?:orary)? table/).slice(1))
      expect(statement, file).toMatch(/on commit (drop|delete rows)/);
});
