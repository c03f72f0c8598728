// A phase that cannot go on undoes exactly what it made, says so, and leaves the source as it was.
import { createHash } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { markKey } from '../../stores/redis/identity.ts';
import { World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await World.open('compensation');
});
afterAll(() => world.close());

/** Of every document of every collection, byte by byte. */
async function sourceDigest(): Promise<string> {
  const hash = createHash('sha256');
  for (const { name } of (await world.source.listCollections().toArray()).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    hash.update(name);
    for await (const raw of world.source.collection(name).find({}, { raw: true }).sort({ _id: 1 }))
      hash.update(raw as unknown as Buffer);
  }
  return hash.digest('hex');
}

test('a privilege lost in the middle of the data phase', async () => {
  await world.seed(20_000, 0.02);
  const before = await sourceDigest();
  const admin = new URL(world.environment['TARGET_POSTGRES_URL']!);
  const database = admin.pathname.slice(1);
  const role = `role_${database}`;
  const owner = new pg.Client({ connectionString: admin.href });
  await owner.connect();
  try {
    await owner.query(`create role ${role} login password 'secret-of-the-role'`);
    await owner.query(`grant create, temporary on database ${database} to ${role}`);
    await owner.query(`grant create, usage on schema public to ${role}`);
    const limited = new URL(admin.href);
    limited.username = role;
    limited.password = 'secret-of-the-role';
    const extra = { TARGET_POSTGRES_URL: limited.href };
    await world.worker(extra);
    expect((await world.causeway(['start', '--until', 'data'], extra)).code).toBe(0);
    await world.until((status) => status.phase === 'data');
    await owner.query(`revoke insert on api_usage from ${role}`);
    await world.until((one) => one.state === 'compensating', 120_000);
    // Ordered a moment too early: it waits for the end of the undoing, or for five seconds.
    const ordered = Date.now();
    const early = await world.causeway(['retry'], extra);
    if (early.code === 1) expect(Date.now() - ordered, early.stderr).toBeGreaterThan(5000);
    else expect(early, early.stderr).toMatchObject({ code: 0 });
    const status = await world.until((one) => one.state === 'parked', 120_000);
    expect(status.lastError).toMatchObject({ phase: 'data', type: 'PermissionDenied' });
    expect(status.lastError!.message).toContain('api_usage');
    expect(JSON.stringify(status)).not.toContain('secret-of-the-role');
    expect(status.lastError!.message).toContain('was removed');
    expect(await sourceDigest()).toBe(before);
    for (const table of [
      'api_usage',
      'users',
      'user_configs',
      'sessions',
      'app_metadata',
      'market_data',
      'migration_control.ledger',
      'migration_control.migration_batches',
      'migration_control.migration_errors',
    ]) {
      expect(await world.rows(`select 1 from ${table} limit 1`), table).toEqual([]);
    }
    expect(await world.target.collection('analysis_results_optimized').countDocuments()).toBe(0);
    // The mark of whose these targets are belongs to the preparation, which stands.
    expect(await world.redis.keys('*')).toEqual([markKey]);
    expect(status.checkpoints.map((one) => one.name)).toEqual(['preparation', 'schema']);

    const back = await world.causeway(['rollback', '--to', 'old'], extra);
    expect(back, back.stderr).toMatchObject({ code: 1, stderr: expect.stringContaining('nothing to take back') });
    const again = await world.causeway(['start', '--until', 'data'], extra);
    expect(again).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^causeway: .*is running already/) as string,
    });

    await owner.query(`grant insert on api_usage to ${role}`);
    expect((await world.causeway(['retry'], extra)).code).toBe(0);
    expect(
      (await world.until((one) => one.state === 'completed' || one.state === 'parked', 120_000)).lastError,
    ).toBeNull();
    const aborted = await world.causeway(['abort', '--reason', 'test', '--wait'], extra);
    expect(aborted, aborted.stderr).toMatchObject({ code: 0, stdout: 'Undone: data, schema, preparation.\n' });
  } finally {
    await owner.end();
  }
}, 240_000);
