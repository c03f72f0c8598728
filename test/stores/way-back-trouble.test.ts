// The way back where something goes wrong: appliers that died or hung, documents that cannot be brought back, changes that meet others.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { BSONRegExp, Decimal128, Double, Int32, Long, ObjectId, serialize } from 'bson';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { feedsOf } from '../../activities/apply.ts';
import { Slice } from '../../activities/capture/slice.ts';
import { awaitSteady } from '../../activities/capture/steady.ts';
import type { Resources } from '../../activities/resources.ts';
import { applyReverse } from '../../activities/reverse/apply.ts';
import { armReverse, disarmReverse } from '../../activities/reverse/arm.ts';
import { close, reopen } from '../../activities/reverse/closing.ts';
import { readReverseChanges } from '../../activities/reverse/read.ts';
import { rebuildDocuments } from '../../activities/reverse/rebuild.ts';
import { validateRollback } from '../../activities/reverse/validate.ts';
import { anchorOf, bringingBack, reverseStatus } from '../../control/reverse.ts';
import { writeBack } from '../../stores/mongodb/write-back.ts';
import { digestOf } from '../../activities/shape.ts';
import { World } from '../support/world.ts';

const settings = { zone: 'Asia/Shanghai', providers: [] };
let world: World;
let resources: Resources;

beforeAll(async () => {
  world = await World.open('trouble');
  await world.seed(1200, 0, ['token_usage', 'analysis_results', 'subscription_users']);
  await world.worker();
  const ran = await world.causeway(['start', '--until', 'data', '--wait']);
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  resources = await world.resources();
  await world.pool.query(
    `insert into migration_control.routing (collection, percentage, write_mode, epoch)
     select distinct mapping, 100, 'new_system', 1 from migration_control.collections
     on conflict (collection) do update set write_mode = 'new_system', percentage = 100`,
  );
  await armReverse(resources, settings);
}, 300_000);
afterAll(async () => {
  await resources?.close();
  await world.close();
});

const slice = (signal: AbortSignal) => new Slice(60_000, signal, () => undefined);

/** One applier, until everything noted so far has been brought back. */
async function drain(): Promise<void> {
  const over = new AbortController();
  const applying = applyReverse(resources, settings, slice(over.signal));
  for (const isDone = bringingBack(resources.postgres); !(await isDone());) await sleep(20);
  over.abort();
  await applying;
}

/** The old system as it is after an applier that died with its transaction: it has written these documents as the new system has them. */
async function dieAfterWriting(id: string): Promise<void> {
  const feed = (await feedsOf(resources)).get('token_usage')!;
  const client = await resources.postgres.connect();
  try {
    await client.query('begin');
    const [row] = (await client.query<{ v: string }>(`select nextval('migration_control.reverse_version') as v`)).rows;
    const old = await world.source.collection('token_usage').findOne({ _id: new ObjectId(id) }, { raw: true });
    const known = new Map(old ? [[id, old as unknown as Uint8Array]] : []);
    const rebuilt = (await rebuildDocuments(resources, client, feed, [id], known, settings)).get(id)!;
    const bytes = rebuilt.is === 'document' ? rebuilt.bytes : undefined;
    const order = { anchor: await anchorOf(client), version: BigInt(row!.v) };
    await writeBack(resources.source, { collection: 'token_usage', order, until: performance.now() + 10_000 }, [
      { id, bytes, digest: bytes ? digestOf(bytes) : 0n },
    ]);
  } finally {
    await client.query('rollback');
    client.release();
  }
}

const insert = (id: string) =>
  world.pool.query(
    `insert into api_usage (source_id, "timestamp", provider, model_name, input_tokens, output_tokens, cost, currency)
     values ($1, now(), 'deepseek', 'deepseek-chat', 1, 1, 0.1, 'CNY')`,
    [id],
  );
const remove = (id: string) => world.pool.query('delete from api_usage where source_id = $1', [id]);
const inOld = (id: string) => world.source.collection('token_usage').findOne({ _id: new ObjectId(id) });
/** What an activity runs in; that it fails is no news here. */
const activity = () => new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
const conflicts = () => world.rows('select 1 from migration_control.reverse_conflicts');

test('made, written back by one who died, and removed: the old system does not keep it', async () => {
  const id = new ObjectId().toHexString();
  await insert(id);
  await dieAfterWriting(id);
  expect(await inOld(id)).not.toBeNull();
  await remove(id);
  await drain();
  expect(await inOld(id)).toBeNull();
  expect(await conflicts()).toEqual([]);
});

test('the end of a migration waits for what fails, and comes when nothing does, writes moved or not', async () => {
  const said: string[] = [];
  let ended = false;
  await world.rows(
    `insert into migration_control.capture_troubles (who, type, message) values ('lane 99', 'StoreBusy', 'Redis is busy')`,
  );
  const say = (sentence: string) => void said.push(sentence);
  const waiting = awaitSteady(resources, say, new AbortController().signal).then(() => (ended = true));
  await vi.waitFor(() => expect(said).toContain('lane 99 fails (StoreBusy): Redis is busy'), { timeout: 20_000 });
  await sleep(1000);
  expect(ended).toBe(false);
  await world.rows(`delete from migration_control.capture_troubles where who = 'lane 99'`);
  await vi.waitFor(() => expect(ended).toBe(true), { timeout: 60_000 });
  await waiting;
});

test('made, written back by one who died, and changed: the old system has the change', async () => {
  const id = new ObjectId().toHexString();
  await insert(id);
  await dieAfterWriting(id);
  await world.pool.query('update api_usage set output_tokens = 7 where source_id = $1', [id]);
  await drain();
  expect(await inOld(id)).toMatchObject({ output_tokens: 7 });
  expect(await conflicts()).toEqual([]);
});

test('what came to the old system by the way back is found among what was written last, and says so', async () => {
  const id = new ObjectId().toHexString();
  await insert(id);
  await drain();
  const feed = (await feedsOf(resources)).get('token_usage')!;
  const client = await resources.postgres.connect();
  try {
    await client.query('begin; set local enable_seqscan = off');
    const { rows } = await client.query<Record<'QUERY PLAN', string>>(
      `explain select source_id from migration_control.ledger_${feed.collectionId} where version >= 1 and origin is not null order by version desc limit 1`,
    );
    expect(rows[0]!['QUERY PLAN']).toMatch(/Limit/);
    expect(rows.map((row) => row['QUERY PLAN']).join('\n')).toMatch(/Index Scan Backward using ledger_\d+_version_idx/);
    await client.query('rollback');
  } finally {
    client.release();
  }
  const [row] = await world.rows('select origin from migration_control.ledger where source_id = $1', [id]);
  expect(row).toEqual({ origin: 'b' });
});

test('removed, removed there by one who died, and made again: the old system has it', async () => {
  const [{ source_id: id }] = (await world.rows<{ source_id: string }>(
    `select source_id from api_usage where source_id ~ '^[0-9a-f]{24}$' limit 1`,
  )) as [{ source_id: string }];
  await remove(id);
  await dieAfterWriting(id);
  expect(await inOld(id)).toBeNull();
  await insert(id);
  await drain();
  expect(await inOld(id)).toMatchObject({ input_tokens: 1 });
  expect(await conflicts()).toEqual([]);
});

test('removed, made again and written back by one who died, removed: each time the old system follows', async () => {
  const id = new ObjectId().toHexString();
  await insert(id);
  await drain();
  await remove(id);
  await drain();
  expect(await inOld(id)).toBeNull();
  await insert(id);
  await dieAfterWriting(id);
  await drain();
  expect(await inOld(id)).not.toBeNull();
  const [row] = await world.rows<{ deleted: boolean }>(
    'select deleted from migration_control.ledger where source_id = $1 and version > 0',
    [id],
  );
  expect(row).toEqual({ deleted: false });
  await remove(id);
  await drain();
  expect(await inOld(id)).toBeNull();
});

test('one who hung before writing writes nothing any more', async () => {
  const id = new ObjectId().toHexString();
  await expect(
    writeBack(
      resources.source,
      { collection: 'token_usage', order: { anchor: 1n << 62n, version: 1n << 40n }, until: performance.now() - 1 },
      [{ id, bytes: serialize({ _id: new ObjectId(id) }), digest: 1n }],
    ),
  ).rejects.toMatchObject({ type: 'StoreBusy' });
  expect(await inOld(id)).toBeNull();
});

test('a unique value of the old system passes from one document to another within a batch', async () => {
  const old = world.source.collection('token_usage');
  await old.createIndex({ model_name: 1 }, { unique: true, partialFilterExpression: { model_name: 'unique value' } });
  const [first, second] = [new ObjectId().toHexString(), new ObjectId().toHexString()];
  const name = (id: string) =>
    world.pool.query(`update api_usage set model_name = 'unique value' where source_id = $1`, [id]);
  await insert(first);
  await name(first);
  await drain();
  expect(await inOld(first)).toMatchObject({ model_name: 'unique value' });
  await insert(second);
  await name(second);
  await remove(first);
  await drain();
  expect([await inOld(first), await inOld(second)]).toMatchObject([null, { model_name: 'unique value' }]);
  await old.dropIndex('model_name_1');
});

test('a row that no document can stand for stops no other, and is told', async () => {
  const good = [new ObjectId().toHexString(), new ObjectId().toHexString()] as const;
  await insert(good[0]);
  await insert('u-17');
  await insert(good[1]);
  await drain();
  for (const id of good) expect(await inOld(id)).not.toBeNull();
  expect((await reverseStatus(resources.postgres))!.unsaid).toBe(1);
  expect(await world.rows(`select paths from migration_control.reverse_unsaid where source_id = 'u-17'`)).toEqual([
    { paths: 'the whole document (the rule source_id_names_an_id at source_id refuses it)' },
  ]);
  await world.pool.query(`delete from api_usage where source_id = 'u-17'`);
  await drain();
  expect((await reverseStatus(resources.postgres))!.unsaid).toBe(1);
});

/** As the server holds it, in bytes. */
async function validationBytes(collection: string): Promise<Buffer> {
  const exact = { promoteValues: false, promoteLongs: false, bsonRegExp: true };
  const [found] = await world.source.listCollections({ name: collection }, exact).toArray();
  return Buffer.from(serialize((found as unknown as { options: object }).options));
}

test('an old collection that is opened again has the validation it had, in every type and in its order', async () => {
  const validator = {
    zone: { $in: ['b', 'a'] },
    at: { $gte: new Date('2020-02-03T04:05:06.789Z') },
    name: { $regex: new BSONRegExp('^a.*b$', 'is') },
    code: { $regex: '^x', $options: 'i', $ne: 'xyz' },
    cost: { $lt: Decimal128.fromString('100.50') },
    counts: { $nin: [new Int32(1), new Double(2), Long.fromNumber(3), new ObjectId()] },
    a: { $exists: true },
  };
  await world.source.createCollection('validated', {
    validator,
    validationLevel: 'moderate',
    validationAction: 'warn',
  });
  const before = await validationBytes('validated');
  expect(await close(resources, ['validated'], randomUUID())).toEqual({ closed: ['validated'], notClosed: [] });
  expect(await validationBytes('validated')).not.toEqual(before);
  await reopen(resources, ['validated']);
  expect((await validationBytes('validated')).toString('latin1')).toBe(before.toString('latin1'));
  expect(await world.rows('select 1 from migration_control.closed_collections')).toEqual([]);
});

test('the way back is not taken down while the new system has writes, and no writes move where there is none', async () => {
  await expect(disarmReverse(resources)).rejects.toMatchObject({ type: 'SwitchRefused' });
  expect(await reverseStatus(resources.postgres)).toBeDefined();
});

test('moved back in an emergency: what follows is compared before capture brings what the old system was given since', async () => {
  const [{ source_id: id }] = (await world.rows<{ source_id: string }>(
    `select source_id from api_usage where source_id ~ '^[0-9a-f]{24}$' order by 1 limit 1`,
  )) as [{ source_id: string }];
  await world.pool.query('update api_usage set output_tokens = 4711 where source_id = $1', [id]);
  await world.pool.query(
    `update migration_control.routing set write_mode = 'old'; update migration_control.outbox set leftover = true`,
  );
  await world.source.collection('token_usage').updateOne({ _id: new ObjectId(id) }, { $set: { output_tokens: 12 } });
  const tokens = async () =>
    (await world.rows<{ n: string }>('select output_tokens as n from api_usage where source_id = $1', [id]))[0]!.n;
  // Capture has met it, and leaves it for later.
  await vi.waitFor(
    async () =>
      expect(await world.rows('select 1 from migration_control.redo where source_id = $1', [id])).toHaveLength(1),
    { timeout: 20_000 },
  );
  expect(await tokens()).toBe('4711');
  await drain();
  expect(await world.rows('select kept, document is null as gone from migration_control.reverse_conflicts')).toEqual([
    { kept: 'old', gone: false },
  ]);
  await vi.waitFor(async () => expect(await tokens()).toBe('12'), { timeout: 20_000 });
  expect(await inOld(id)).toMatchObject({ output_tokens: 12 });
  await world.pool.query(
    `delete from migration_control.reverse_conflicts; update migration_control.routing set write_mode = 'new_system'`,
  );
});

test('what the target MongoDB was given before writes moved back in an emergency is a leftover, though it is read later', async () => {
  const optimised = world.target.collection('analysis_results_optimized');
  const [one, other] = await optimised.find().limit(2).toArray();
  await optimised.updateOne({ _id: one!._id }, { $set: { status: 'given before' } });
  const { operationTime } = await world.target.command({ ping: 1 });
  await world.pool.query(
    `update migration_control.routing set write_mode = 'old';
     update migration_control.reverse_position set leftover_version = ${(BigInt(operationTime.high >>> 0) << 32n) + BigInt(operationTime.low >>> 0)}`,
  );
  // Capture's own writes from now on come through the same stream, and are nobody's leftovers.
  await world.source.collection('analysis_results').updateOne({ _id: other!._id }, { $set: { status: 'after' } });
  const isDone = bringingBack(resources.postgres);
  expect(await isDone()).toBe(false);
  const over = new AbortController();
  const [reading, applying] = [
    readReverseChanges(resources, slice(over.signal)),
    applyReverse(resources, settings, slice(over.signal)),
  ];
  const old = (id: unknown) => world.source.collection('analysis_results').findOne({ _id: id as ObjectId });
  await vi.waitFor(async () => expect(await isDone()).toBe(true), { timeout: 20_000 });
  await vi.waitFor(async () => expect(await old(one!._id)).toMatchObject({ status: 'given before' }));
  await vi.waitFor(
    async () => expect(await optimised.findOne({ _id: other!._id })).toMatchObject({ status: 'after' }),
    { timeout: 20_000 },
  );
  expect(await old(other!._id)).toMatchObject({ status: 'after' });
  expect(await conflicts()).toEqual([]);
  over.abort();
  await Promise.all([reading, applying]);
});

test('what the old system did not take keeps a rollback from ending, until it is brought back or accepted', async () => {
  const validate = () => activity().run(() => validateRollback(resources, ['token_usage']));
  await world.pool.query(`update migration_control.routing set write_mode = 'new_system'`);
  const old = world.source.collection('token_usage');
  await old.createIndex({ model_name: 1 }, { unique: true, partialFilterExpression: { model_name: 'taken' } });
  const [first, second] = [new ObjectId().toHexString(), new ObjectId().toHexString()];
  for (const id of [first, second]) {
    await insert(id);
    await world.pool.query(`update api_usage set model_name = 'taken' where source_id = $1`, [id]);
    await drain();
  }
  expect([(await inOld(first)) !== null, await inOld(second)]).toEqual([true, null]);
  await world.pool.query(`update migration_control.routing set write_mode = 'old'`);
  const refused = (await validate().catch((error: unknown) => error)) as Error;
  expect(refused).toMatchObject({ name: 'ValidationFailed' });
  expect(refused.message).toContain('which did not take them: 2 of token_usage. ');
  expect(refused.message).not.toContain(second);

  await old.dropIndex('model_name_1');
  const over = new AbortController();
  const applying = applyReverse(resources, settings, slice(over.signal));
  const retried = await world.causeway(['reverse', 'retry']);
  over.abort();
  await applying;
  expect([retried.code, retried.stdout], retried.stderr).toEqual([
    1,
    '2 changes were tried again; 1 are still set aside.\n',
  ]);
  expect(await inOld(second)).toMatchObject({ model_name: 'taken' });
  await expect(validate()).rejects.toThrow('1 of token_usage');
  expect((await world.causeway(['reverse', 'accept', '--reason', 'no document has such an id'])).code).toBe(0);
  expect(await validate()).not.toEqual({ compared: 0 });
});

test('documents that differ after a rollback are counted, and no id of theirs is told', async () => {
  const id = new ObjectId().toHexString();
  await world.pool.query(`update migration_control.routing set write_mode = 'new_system'`);
  await insert(id);
  await drain();
  await world.pool.query(`update migration_control.ledger set source_digest = source_digest + 1 where source_id = $1`, [
    id,
  ]);
  const differing = (await activity()
    .run(() => validateRollback(resources, ['token_usage']))
    .catch((error: unknown) => error)) as Error;
  expect(differing.message).toContain('1 documents of token_usage are not in the old system as the new one had them.');
  expect(differing.message).not.toContain(id);
});

test('what the way back has left is told when it has been taken down', async () => {
  await world.pool.query(`update migration_control.routing set write_mode = 'old'`);
  await disarmReverse(resources);
  const told = await world.causeway(['reverse', 'status']);
  expect(told.code, told.stderr).toBe(0);
  expect(told.stdout).toContain('The way back was taken down');
  expect(told.stdout).toMatch(/set aside: accepted: the whole document \(the rule source_id_names_an_id.*u-17/);
  const json = await world.causeway(['reverse', 'status', '--json']);
  expect(JSON.parse(json.stdout)).toMatchObject({
    setAside: 0,
    findings: expect.arrayContaining([expect.objectContaining({ source_id: 'u-17' })]) as unknown,
  });
});
