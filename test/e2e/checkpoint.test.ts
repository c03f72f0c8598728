// Checkpoints of all stores taken under load: one cut, refused when damaged, put back whole though workers die, and capture brings the rest.
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BSON } from 'mongodb';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { verifySnapshot } from '../../activities/checkpoint/restore.ts';
import type { Resources } from '../../activities/resources.ts';
import { startLegacyWriter, type LegacyWriter } from '../../seed/legacy-writer.ts';
import { isSoak } from '../soak/options.ts';
import { checkEqual } from '../support/checker.ts';
import { ownVault } from '../../control/vault.ts';
import { contentOf, differenceOf, documentsNow, keysNow, SnapshotRead, tableNow } from '../support/snapshot.ts';
import { World } from '../support/world.ts';
import { within } from '../support/within.ts';

let world: World;
let writer: LegacyWriter;
let worker: Awaited<ReturnType<World['worker']>>;
let resources: Resources;
const config = () => ['--config', join(world.home, 'settings.json')];
const folderOf = (name: string) => join(world.home, 'snapshots', world.name, name);

beforeAll(async () => {
  world = await World.open('checkpoint');
  await world.seed(1500, 0.02);
  await writeFile(
    join(world.home, 'settings.json'),
    JSON.stringify({ stages: [{ name: 'reads', percentage: 10, soakSeconds: 36_000 }], quarantineBudget: 1 }),
  );
  worker = await world.worker();
  const started = await world.causeway(['start', ...config()]);
  expect(started.stderr).toBe('');
  await world.until((status) => status.routing['token_usage']?.percentage === 10);
  const env = world.environment;
  resources = await world.resources();
  writer = startLegacyWriter({ url: env['SOURCE_MONGODB_URL']!, perSecond: 50, seed: 11 });
});
afterAll(async () => {
  await writer.stop();
  await resources.close();
  await world.close();
});

interface Made {
  readonly name: string;
  readonly createdAt: string;
  readonly barrierMs: number;
  readonly folder: string;
  readonly records: number;
}

async function create(name: string): Promise<Made> {
  const { code, stdout, stderr } = await world.causeway(['checkpoint', 'create', name, '--json', ...config()]);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Made;
}

async function killed(child: typeof worker): Promise<void> {
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

test(
  'while writes go on, the stores are cut at one moment: ledger, rows, documents and keys agree key by key',
  { timeout: 300_000 },
  async () => {
    for (const name of ['first', 'second', 'third']) {
      await vi.waitFor(
        async () => {
          const [moving] = await world.rows<{ events: string }>(
            'select sum(events) as events from migration_control.capture_position',
          );
          expect(Number(moving!.events)).toBeGreaterThan(0);
        },
        { timeout: 60_000, interval: 200 },
      );
      const made = await create(name);
      expect(made.barrierMs).toBeLessThan(within(2000));
      process.stdout.write(`  checkpoint ${name}: ${made.records} records, writers held for ${made.barrierMs} ms\n`);
      expect(await disagreements(await SnapshotRead.open(made.folder))).toEqual([]);
    }
  },
);

interface LedgerLine {
  readonly version: string;
  readonly loaded: boolean;
  readonly keys: string[];
}

/** What should be the same in two stores and is not. */
async function disagreements(snapshot: SnapshotRead): Promise<string[]> {
  const wrong: string[] = [];
  const collections = await snapshot.rows('migration_control.collections');
  const ledgers = new Map<string, Map<string, LedgerLine>>();
  for (const row of await snapshot.rows('migration_control.ledger')) {
    const mapping = collections.find((one) => one['id'] === row['collection_id'])!['mapping']!;
    const ledger = ledgers.get(mapping) ?? new Map<string, LedgerLine>();
    ledgers.set(mapping, ledger);
    const loaded = row['state'] === 'l' && row['deleted'] === 'f';
    const keys = [...(row['keys'] ?? '').matchAll(/"((?:[^"\\]|\\.)*)"|([^,{}]+)/g)].map(([, quoted, plain]) =>
      ownVault().openText('redis key', plain ?? quoted!.replace(/\\(.)/g, '$1')),
    );
    ledger.set(row['source_id']!, { version: `${row['version']}.${row['op_index']}`, loaded, keys });
  }
  const same = (what: string, a: Iterable<string>, b: Iterable<string>) => {
    const [left, right] = [new Set(a), new Set(b)];
    for (const one of left) if (!right.has(one)) wrong.push(`${what}: ${one} only in the first`);
    for (const one of right) if (!left.has(one)) wrong.push(`${what}: ${one} only in the second`);
  };
  const loadedOf = (mapping: string) => [...ledgers.get(mapping)!].filter(([, its]) => its.loaded).map(([id]) => id);
  for (const [mapping, table] of [
    ['token_usage', 'public.api_usage'],
    ['subscription_users', 'public.users'],
    ['sessions', 'public.sessions'],
    ['stock_daily_quotes', 'public.market_data'],
  ] as const)
    same(
      table,
      loadedOf(mapping),
      (await snapshot.rows(table)).map((row) => row['source_id']!),
    );

  const idOf = (raw: Buffer) => {
    const id = BSON.deserialize(raw, { promoteValues: false })['_id'] as BSON.ObjectId | string;
    return typeof id === 'object' && id._bsontype === 'ObjectId'
      ? id.toHexString()
      : BSON.EJSON.stringify(id, { relaxed: false });
  };
  const documents = await snapshot.documents('analysis_results_optimized');
  const guards = await snapshot.documents('analysis_results_optimized.causeway');
  same('documents', loadedOf('analysis_results'), documents.map(idOf));
  const versions = new Map(
    guards.map((raw) => {
      const { _id, v, o } = BSON.deserialize(raw, { promoteValues: false });
      // Behind the number of its source collection.
      return [String(_id).replace(/^\d+\t/, ''), `${String(v)}.${String(o)}`];
    }),
  );
  for (const [id, its] of ledgers.get('analysis_results')!) {
    const guard = versions.get(id);
    if (guard === undefined ? its.loaded : guard !== its.version)
      wrong.push(`guard of ${id}: ${guard} and ${its.version}`);
  }

  const sessions = ledgers.get('sessions')!;
  const owned = new Map(
    [...sessions].flatMap(([id, its]) => (its.loaded ? its.keys.map((key) => [key, id] as const) : [])),
  );
  const records = (await snapshot.keys()).filter((record) => record.v !== undefined);
  for (const { k, v } of records) {
    const guard = (JSON.parse(v!) as { _causeway: { s: string; v: string } })._causeway;
    const [time, op] = guard.v.split('.');
    const its = sessions.get(guard.s);
    if (!its?.keys.includes(k)) wrong.push(`${k} is a key of no document`);
    else if (its.version !== `${BigInt(time!)}.${Number(op)}`) wrong.push(`${k}: ${guard.v} and ${its.version}`);
  }
  const dying = new Date(snapshot.manifest.cut.at).getTime() + 30_000;
  const there = new Set(records.map((record) => record.k));
  for (const row of await snapshot.rows('public.sessions')) {
    const key = `session:${row['session_id']}`;
    const lives = row['expires_at'] !== null && new Date(row['expires_at']!).getTime() > dying;
    if (lives && owned.has(key) && !there.has(key)) wrong.push(`${key} is missing`);
  }
  if (records.length < 20 || documents.length < 20) wrong.push('hardly anything to compare');
  return wrong;
}

test('names leave the folder nowhere, phases keep theirs, a checkpoint is never written over', async () => {
  for (const name of ['../other', '..', 'data'])
    expect((await world.causeway(['checkpoint', 'restore', name, '--yes'])).code, name).toBe(2);
  expect((await world.causeway(['checkpoint', 'create', '../../other'])).code).toBe(2);
  expect((await world.causeway(['checkpoint', 'restore', 'first'])).code).toBe(2);
  const again = await world.causeway(['checkpoint', 'create', 'first']);
  expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/already/)]);
});

test('a snapshot that is damaged, incomplete or of something else is refused, and nothing is changed', async () => {
  const order = { migration: world.name, name: 'first', snapshotDirectory: 'snapshots' };
  const verify = () =>
    verifySnapshot(resources, order, () => undefined).then(
      () => 'accepted',
      (error: Error) => `${error.name}: ${error.message}`,
    );
  const saved = join(world.home, 'saved');
  await cp(folderOf('first'), saved, { recursive: true });
  const put = async () => {
    await rm(folderOf('first'), { recursive: true });
    await cp(saved, folderOf('first'), { recursive: true });
  };
  const before = await world.rows('select collection, epoch from migration_control.routing order by 1');
  expect(await verify()).toBe('accepted');
  const files = await readdir(saved);
  const kinds = [
    'postgres.public.users.',
    'postgres.migration_control.ledger.',
    'mongodb.analysis_results_optimized.00',
    'mongodb.analysis_results_optimized.causeway.',
    'redis.',
    'files.',
    'manifest.json',
    'manifest.sha256',
  ];
  for (const kind of kinds) {
    const file = join(
      folderOf('first'),
      files.find((one) => one.startsWith(kind))!,
    );
    const bytes = await readFile(file);
    for (const at of [bytes.length >> 1, bytes.length - 2]) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1;
      await writeFile(file, flipped);
      expect(await verify(), `${kind} at ${at}`).toMatch(/^CheckpointDamaged: .*Nothing was changed/);
    }
    await writeFile(file, bytes.subarray(0, bytes.length >> 1));
    expect(await verify(), `${kind} cut short`).toMatch(/^CheckpointDamaged/);
    await rm(file);
    expect(await verify(), `${kind} missing`).toMatch(/^CheckpointDamaged/);
    await put();
  }
  const forge = async (change: (manifest: Record<string, unknown>) => void) => {
    const manifest = JSON.parse(await readFile(join(saved, 'manifest.json'), 'utf8')) as Record<string, unknown>;
    change(manifest);
    const text = JSON.stringify(manifest);
    await writeFile(join(folderOf('first'), 'manifest.json'), text);
    await writeFile(
      join(folderOf('first'), 'manifest.sha256'),
      `${createHash('sha256').update(text).digest('hex')}  manifest.json\n`,
    );
    const said = await verify();
    await put();
    return said;
  };
  expect(await forge((one) => (one['migration'] = 'another'))).toMatch(/^CheckpointRefused: .*another/);
  expect(await forge((one) => ((one['mappings'] as Record<string, number>)['sessions'] = 99))).toMatch(
    /^CheckpointRefused: .*sessions version 99/,
  );
  expect(await forge((one) => (one['format'] = 2))).toMatch(/^CheckpointRefused: .*format 2/);
  expect(await forge((one) => (one['controlSchema'] as string[]).pop())).toMatch(
    /^CheckpointRefused: .*control schema/,
  );
  expect(
    await forge((one) => ((one['parts'] as { columns?: { type: string }[] }[])[0]!.columns![0]!.type = 'money')),
  ).toMatch(/^CheckpointRefused: .*columns/);

  const file = join(
    folderOf('first'),
    files.find((one) => one.startsWith('redis.'))!,
  );
  const bytes = await readFile(file);
  bytes[bytes.length >> 1]! ^= 4;
  await writeFile(file, bytes);
  const refused = await world.causeway(['checkpoint', 'restore', 'first', '--yes', ...config()]);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/damaged: .*Nothing was changed/)]);
  await put();
  await rm(saved, { recursive: true });
  expect(await world.rows('select 1 from migration_control.restores')).toEqual([]);
  expect(await world.rows('select collection, epoch from migration_control.routing order by 1')).toEqual(before);
  expect((await world.query()).state).toBe('running');
});

/** In `npm run soak -- checkpoint`. */
const killedWhile = isSoak ? ['snapshot.before-rename', 'snapshot.after-rename'] : [];

if (killedWhile.length > 0)
  test(
    'kill -9 while a checkpoint is made: it is made all the same, once, and no half of it is left',
    { timeout: 400_000 },
    async () => {
      for (const point of killedWhile) {
        await killed(worker);
        const doomed = await world.worker({ CAUSEWAY_KILL_AT: point });
        const creating = create(point.replace('.', '-'));
        await once(doomed, 'exit');
        worker = await world.worker();
        const made = await creating;
        expect(
          (await readdir(join(world.home, 'snapshots', world.name))).filter((one) => one.includes('.part-')),
        ).toEqual([]);
        expect((await SnapshotRead.open(made.folder)).manifest.createdAt).toBe(made.createdAt);
      }
    },
  );

test('the list tells what there is', async () => {
  const { stdout } = await world.causeway(['checkpoint', 'list', '--json']);
  const { checkpoints } = JSON.parse(stdout) as { checkpoints: { name: string; kind: string; state?: string }[] };
  expect(checkpoints.filter((one) => one.kind === 'snapshot').map((one) => [one.name, one.state])).toEqual(
    ['first', 'second', 'third', ...killedWhile.map((point) => point.replace('.', '-'))].map((name) => [
      name,
      'complete',
    ]),
  );
  expect(checkpoints.filter((one) => one.kind === 'phase').map((one) => one.name)).toEqual([
    'preparation',
    'schema',
    'data',
  ]);
  const dry = await world.causeway(['checkpoint', 'restore', 'second', '--dry-run', '--json', ...config()]);
  expect(JSON.parse(dry.stdout)).toMatchObject({
    dryRun: true,
    name: 'second',
    afterWriteCutover: false,
    capture: 'not-begun',
  });
});

const stateful = [
  'public.users',
  'public.user_configs',
  'public.api_usage',
  'public.sessions',
  'public.app_metadata',
  'public.market_data',
  'migration_control.ledger',
  'migration_control.migration_errors',
  'migration_control.captured',
  'migration_control.redo',
];

test(
  'restored though the worker dies twice: digests equal, expiries kept, others untouched; then capture brings the rest',
  { timeout: 500_000 },
  async () => {
    const at = await create('back');
    const snapshot = await SnapshotRead.open(at.folder);
    await sleep(2000);
    // Behind the migration's back.
    await world.rows('delete from sessions');
    await world.rows(`update api_usage set output_tokens = 77777`);
    await world.target.collection('analysis_results_optimized').deleteMany({});
    const gone = (await snapshot.keys()).find((record) => record.v !== undefined)!.k;
    await world.redis.del(gone);
    await world.redis.set('session:of-somebody-else', 'not ours');
    await rm(join(world.home, 'configuration', world.name), { recursive: true, maxRetries: 10 });
    await mkdir(join(world.home, 'configuration', world.name));

    await killed(worker);
    let doomed = await world.worker({ CAUSEWAY_KILL_AT: 'restore.between-stores' });
    const restoring = world.causeway(['checkpoint', 'restore', 'back', '--yes', '--json', ...config()]);
    await once(doomed, 'exit');
    const unfinished = JSON.parse((await world.causeway(['checkpoint', 'list', '--json'])).stdout) as Record<
      string,
      unknown
    >;
    expect(unfinished['unfinishedRestore']).toMatchObject({ checkpoint: 'back' });
    const started = await world.causeway(['start', ...config()]);
    expect([started.code, started.stderr]).toEqual([
      1,
      expect.stringMatching(/restore of checkpoint back.*has not ended/),
    ]);
    await expect(world.rows('select migration_control.enter_stores()')).rejects.toThrow(/restore is under way/);

    doomed = await world.worker({ CAUSEWAY_KILL_AT: 'restore.after-commit' });
    await once(doomed, 'exit');
    // All stands, and nobody may write yet: what the drivers see is what the files hold.
    for (const table of stateful) {
      const client = await world.pool.connect();
      try {
        await client.query(`begin; create temporary table put (like ${table}) on commit drop`);
        const { columns } = snapshot.part('postgres', table);
        await insertLines(
          client,
          columns!.map((column) => column.name),
          await snapshot.rows(table),
        );
        const { rows } = await client.query<{ line: string }>('select to_jsonb(t)::text as line from put t');
        await client.query('rollback');
        const difference = differenceOf(
          rows.map((row) => row.line),
          await tableNow(world, table),
        );
        // The reader goes on as soon as the tables are free: what it has read since may be there, and nothing may be gone.
        const grows = ['migration_control.captured', 'migration_control.redo'].includes(table);
        expect(grows ? difference.filter((line) => line.startsWith('-')) : difference, table).toEqual([]);
      } finally {
        client.release();
      }
    }
    for (const collection of ['analysis_results_optimized', 'analysis_results_optimized.causeway'])
      expect(contentOf(await documentsNow(world, collection)), collection).toBe(
        contentOf(await snapshot.documents(collection)),
      );
    const options = await world.target.listCollections({ name: 'analysis_results_optimized' }).toArray();
    expect((options[0] as { options?: { validator?: unknown } }).options?.validator).toBeDefined();
    const saved = (await snapshot.keys()).filter((record) => record.v !== undefined && record.e > Date.now() + 60_000);
    expect(saved.length).toBeGreaterThan(20);
    const keys = await keysNow(world.redis);
    expect(keys.get('session:of-somebody-else')).toBe('not ours');
    expect(saved.filter((record) => keys.get(record.k) !== record.v)).toEqual([]);
    const before = Date.now();
    for (const record of saved.slice(0, 50)) {
      const left = await world.redis.pttl(record.k);
      expect(Math.abs(before + left - record.e), record.k).toBeLessThan(2000);
    }
    const files = await readdir(join(world.home, 'configuration', world.name));
    expect(files.length).toBe(snapshot.part('files', 'files').records);
    const routes = await world.rows<{ percentage: number; write_mode: string }>(
      'select distinct percentage, write_mode from migration_control.routing',
    );
    expect(routes).toEqual([{ percentage: 0, write_mode: 'old' }]);

    await world.redis.del('session:of-somebody-else');
    worker = await world.worker();
    const { code, stdout, stderr } = await restoring;
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      name: 'back',
      capture: 'caught-up',
      validation: 'passed',
      afterWriteCutover: false,
      routingAtCut: { token_usage: { percentage: 10 } },
    });
    expect(stderr).toMatch(/restoreRows/);
    const status = await world.status();
    expect(status).toMatchObject({
      state: 'paused',
      waitingFor: 'resume',
      routing: { token_usage: { percentage: 0, writeMode: 'old' } },
    });
    expect(status).not.toHaveProperty('restore');

    await writer.stop();
    await expect.poll(() => checkEqual(world.environment as never), { timeout: 60_000, interval: 1000 }).toEqual([]);
    expect((await world.causeway(['resume'])).code).toBe(0);
    await world.until((one) => one.routing['token_usage']?.percentage === 10);
    expect(existsSync(folderOf('back'))).toBe(true);
  },
);

async function insertLines(
  client: pg.ClientBase,
  columns: readonly string[],
  rows: readonly Record<string, string | null>[],
): Promise<void> {
  const names = columns.map((column) => `"${column}"`).join(', ');
  for (let i = 0; i < rows.length; i += 200) {
    const batch = rows.slice(i, i + 200);
    const values = batch.map((_, n) => `(${columns.map((_, m) => `$${n * columns.length + m + 1}`).join(', ')})`);
    await client.query(
      `insert into put (${names}) values ${values.join(', ')}`,
      batch.flatMap((row) => columns.map((column) => row[column])),
    );
  }
}
