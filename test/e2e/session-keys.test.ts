// Redis is a cache of what PostgreSQL keeps: what it has forgotten is counted, set again on demand, and what was written to it by others is found.
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CheckResult } from '../../activities/validate.ts';
import type { Difference, Summary } from '../../control/verification-report.ts';
import { expectNothingOf } from '../support/history.ts';
import { ownVault } from '../../control/vault.ts';
import { World } from '../support/world.ts';

let world: World;
let worker: Awaited<ReturnType<World['worker']>>;
const hour = 3_600_000;
const sessions = Array.from({ length: 60 }, (_, i) => ({
  _id: new ObjectId(),
  session_id: `kept-${i}`,
  user_id: 'admin',
  status: 'active',
  created_at: new Date(Date.now() - hour),
  expires_at: new Date(Date.now() + (i + 2) * hour),
  data: { step: i },
}));
const keyOf = (i: number) => `session:kept-${i}`;
const config = () => join(world.home, 'settings.json');

beforeAll(async () => {
  world = await World.open('session-keys');
  // Nothing that waits to be read again: only the repair is to come to where the worker is killed.
  await world.seed(400, 0);
  await world.source.collection('sessions').insertMany(sessions);
  worker = await world.worker();
  await writeFile(config(), JSON.stringify({ quarantineBudget: 1, sampleMinimum: 100_000, sampleMaximum: 100_000 }));
  const ran = await world.causeway(['start', '--until', 'data', '--wait', '--config', config()]);
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
});
afterAll(() => world.close());

const json = async <T>(args: string[]): Promise<T & { code: number }> => {
  const { code, stdout, stderr } = await world.causeway([...args, '--collection', 'sessions', '--json']);
  try {
    return Object.assign(JSON.parse(stdout) as T & { code: number }, { code });
  } catch {
    throw new Error(`no JSON: ${stdout} ${stderr}`);
  }
};
const verify = (...more: string[]) =>
  json<Summary & { differences: readonly Difference[] }>(['verify', '--config', config(), ...more]);
const sample = async () => {
  const results = await json<{ individual_results: Record<string, CheckResult> }[]>([
    'validate',
    '--check',
    'sample_validation',
  ]);
  return results[0]!.individual_results['sample_validation'];
};
const held = async () => Promise.all(sessions.map((_, i) => world.redis.get(keyOf(i))));
const expectLife = async () => {
  for (const [i, { expires_at }] of sessions.entries())
    expect(Math.abs(Date.now() + (await world.redis.pttl(keyOf(i))) - expires_at.getTime())).toBeLessThan(3000);
};

test('keys that Redis has forgotten are counted and no difference; a repair sets them again, with their value and their end', async () => {
  const before = await held();
  expect(before).not.toContain(null);
  await world.redis.del(...[3, 14, 15, 33, 47].map(keyOf));
  expect(await sample()).toMatchObject({ status: 'passed', details: { evicted: 5 } });
  expect(await verify()).toMatchObject({ code: 0, different: 0, open: 0, evicted: 5, restored: 0 });
  expect(await world.redis.exists(keyOf(3))).toBe(0);
  expect(await verify('--repair')).toMatchObject({
    code: 0,
    different: 0,
    open: 0,
    repaired: 0,
    evicted: 0,
    restored: 5,
  });
  expect(await held()).toEqual(before);
  await expectLife();
  expect(await verify()).toMatchObject({ code: 0, evicted: 0, restored: 0 });
});

test('after a flush Redis is rebuilt, also by a run that had only counted before', async () => {
  const before = await held();
  const keys = await world.redis.dbsize();
  await world.redis.flushdb();
  const [open] = await world.rows<{ id: string }>(
    `with run as (insert into migration_control.verification_runs (scope, state, from_version, settled_version) values ('sessions', 'running', 1, 1) returning id)
     insert into migration_control.verification_scans (run_id, scan, kind, mapping, source, collection_id, done, total, compared, evicted)
     select run.id, 1, 'documents', 'sessions', 'sessions', c.id, true, 100, 100, 60 from run, migration_control.collections c where c.source = 'sessions' returning run_id as id`,
  );
  const report = await verify('--repair');
  expect(report).toMatchObject({ run: Number(open!.id), code: 0, different: 0, evicted: 0 });
  expect(report.restored).toBeGreaterThanOrEqual(sessions.length);
  expect(await held()).toEqual(before);
  await expectLife();
  await verify('--repair');
  // But for what has ended meanwhile, and what is remembered of removals.
  expect(await world.redis.dbsize()).toBeLessThanOrEqual(keys);
});

test('another value is a difference; which document has it stays out of every history', async () => {
  const victim = sessions[20]!;
  const id = String(victim._id);
  const before = await world.redis.get(keyOf(20));
  await world.redis.set(keyOf(20), JSON.stringify({ session_id: 'kept-20', status: 'stolen' }), 'KEEPTTL');
  expect(await sample()).toMatchObject({ status: 'failed', details: { sample_details: [{ record_id: id }] } });
  const found = await verify();
  expect(found).toMatchObject({ code: 1, different: 1, differences: [{ id, finding: 'different' }] });

  // Killed after it has said which key it is about to set.
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  const doomed = await world.worker({ CAUSEWAY_KILL_AT: 'outside.between-stores:1' });
  const repairing = verify('--repair');
  if (doomed.exitCode === null && doomed.signalCode === null) await once(doomed, 'exit');
  expect(await world.rows(`select key from migration_control.announced_keys where source_id = $1`, [id])).toEqual([
    { key: ownVault().sealText('redis key', keyOf(20)) },
  ]);
  worker = await world.worker();
  expect(await repairing).toMatchObject({ code: 0, different: 0, repaired: 1 });
  expect(JSON.parse((await world.redis.get(keyOf(20)))!)).toMatchObject({
    ...(JSON.parse(before!) as object),
    _causeway: expect.any(Object) as object,
  });

  for (const workflow of ['validation', 'verify']) {
    const handle = world.temporal.workflow.getHandle(`migration/${world.name}/${workflow}`);
    const history = JSON.stringify(await handle.fetchHistory());
    for (const text of [id, 'kept-20']) expectNothingOf(history, text);
  }
});
