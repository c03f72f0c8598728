// Every command, where only one collection is migrated and its rows refer to a table that is no part of the migration.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { idFromSourceId } from '../../core/identity.ts';
import type { Summary } from '../../control/verification-report.ts';
import { World } from '../support/world.ts';

let world: World;
const config = () => ['--config', join(world.home, 'settings.json')];
const ran = async (...args: string[]) => {
  const { code, stdout, stderr } = await world.causeway(args);
  expect(code, `${args.join(' ')}: ${stdout}${stderr}`).toBe(0);
  return stdout;
};
const json = async <T>(...args: string[]) => JSON.parse(await ran(...args, '--json')) as T;
const equal = () => json<Summary>('verify', ...config());

beforeAll(async () => {
  world = await World.open('subset');
  await world.seed(600, 0.05);
  await writeFile(
    join(world.home, 'settings.json'),
    JSON.stringify({
      collections: ['token_usage'],
      stages: [
        { name: 'reads', percentage: 50, soakSeconds: 0 },
        { name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 3600 },
      ],
      decommission: true,
      quarantineBudget: 0.9,
      policy: { queryTime: { floorMs: 60_000 }, throughput: { minimumReads: 1_000_000 } },
      snapshotDirectory: join(world.home, 'snapshots'),
    }),
  );
  await world.worker();
});
afterAll(() => world.close());

test('start, and whatever only looks', { timeout: 120_000 }, async () => {
  await ran('start', '--dry-run', ...config());
  await ran('start', '--until', 'data', '--wait', ...config());
  expect(await world.rows(`select 1 from pg_class where relname in ('users', 'sessions')`)).toEqual([]);
  expect(Object.keys((await world.status()).collections)).toEqual(['token_usage']);
  expect(await ran('status')).toContain('token_usage');
  expect(await ran('validate', ...config())).not.toContain('error');
  expect(await equal()).toMatchObject({ different: 0, open: 0 });
  const [row] = await world.rows<{ source_id: string; id: string }>('select source_id, id from api_usage limit 1');
  expect(await ran('explain', 'token_usage', row!.source_id)).toContain('api_usage');
  expect(await ran('explain', '--row', 'api_usage', row!.id)).toContain(row!.source_id);
  expect(await ran('report', '--out', join(world.home, 'page.html'))).toContain('page.html');
  await ran('decisions');
  await ran('capture', 'status');
  await ran('repair', '--dry-run');
  await ran('perf', '--seconds', '1', '--rate', '10', ...config()).catch((error: Error) => {
    // A comparison of so few reads may go either way; it is to be made.
    expect(error.message).toContain('api_usage');
  });
});

test('quarantine, repair, checkpoint and restore', { timeout: 120_000 }, async () => {
  expect(await ran('quarantine', 'list')).toContain('token_usage');
  expect(await ran('quarantine', 'show', 'token_usage')).toContain('token_usage');
  await ran('quarantine', 'retry');
  await ran('repair');
  await ran('checkpoint', 'create', 'whole', ...config());
  const [before] = await world.rows('select count(*) from api_usage');
  await world.rows('delete from api_usage');
  await ran('checkpoint', 'restore', 'whole', '--yes', ...config());
  expect(await world.rows('select count(*) from api_usage')).toEqual([before]);
  expect(await equal()).toMatchObject({ different: 0, open: 0 });
});

const mode = () => world.rows('select collection, write_mode from migration_control.routing');

test('cutover, the way back, and the end of the old system', { timeout: 240_000 }, async () => {
  // Without --config it goes on with the settings that it has.
  await ran('start');
  await expect.poll(mode, { timeout: 60_000 }).toEqual([{ collection: 'token_usage', write_mode: 'new_system' }]);
  await world.rows(`update api_usage set output_tokens = 4711 where id = (select min(id) from api_usage)`);
  await ran('reverse', 'status');
  expect(await ran('status')).toContain('writes');
  await ran('rollback', '--to', 'old', '--reason', 'test');
  await world.until((status) => status.state === 'parked', 60_000);
  expect(await mode()).toEqual([{ collection: 'token_usage', write_mode: 'old' }]);
  const [row] = await world.rows<{ source_id: string }>('select source_id from api_usage where output_tokens = 4711');
  const _id = idFromSourceId(row!.source_id) as ObjectId;
  const old = await Promise.all(
    ['token_usage', 'usage_records'].map((one) => world.source.collection(one).findOne({ _id })),
  );
  expect(old.map((one) => Number(one?.['output_tokens'] ?? 0))).toContain(4711);
  await ran('retry');
  await expect.poll(mode, { timeout: 60_000 }).toEqual([{ collection: 'token_usage', write_mode: 'new_system' }]);
  await ran('cutover', 'advance');
  await world.until((status) => status.waitingFor?.includes('"decommission"') === true, 60_000);
  await ran('approve', 'decommission');
  await world.until((status) => status.state === 'completed', 60_000);
  const names = (await world.source.listCollections({}, { nameOnly: true }).toArray()).map((one) => one.name);
  expect(names.filter((name) => name.endsWith('_retired')).sort()).toEqual(
    names.filter((name) => ['token_usage_retired', 'usage_records_retired'].includes(name)).sort(),
  );
  expect(names).toContain('token_usage_retired');
  await ran('decommission', '--yes', '--remove-ledger');
  await ran('report', '--out', join(world.home, 'last.html')).catch((error: Error) => {
    expect(error.message).toMatch(/nothing|no control|has not/i);
  });
});
