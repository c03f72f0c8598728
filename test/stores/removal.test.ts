// Nothing that counts is removed: every step that removes asks the database, in the transaction in which it removes, and never what a workflow remembers.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Resources } from '../../activities/resources.ts';
import { prepareControl, undoPreparation } from '../../activities/record.ts';
import { armReverse, disarmReverse } from '../../activities/reverse/arm.ts';
import { route } from '../../activities/route.ts';
import { makeMongo, makePostgres, mayRemove, undoData, undoSchema } from '../../activities/targets.ts';
import { noteAudit } from '../../control/audit.ts';
import { knownOf, noteUndone, noteUndoing, passStage, whileOldCounts } from '../../control/lifecycle.ts';
import type { Standing } from '../../core/lifecycle.ts';
import { inCutover } from '../support/standing.ts';
import { World } from '../support/world.ts';

const collections = ['token_usage', 'analysis_results'];
const standing: Standing = {
  ...inCutover,
  settings: { stages: [{ name: 'first' }, { name: 'writes' }] },
};
const nothing = () => undefined;

let world: World;
let resources: Resources;
beforeAll(async () => {
  world = await World.open('removal');
  resources = await world.resources();
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

beforeEach(async () => {
  await world.rows('drop schema if exists migration_control cascade');
  await world.rows('drop table if exists api_usage cascade');
  await world.target.dropDatabase();
  await prepareControl(resources, world.name, standing);
  await makePostgres(resources, collections);
  await makeMongo(resources, collections);
  await world.rows(
    `insert into api_usage (source_id, "timestamp", provider, model_name, input_tokens, output_tokens, cost, currency, session_id)
     values ('65f000000000000000000001', now(), 'openai', 'gpt', 1, 1, 1, 'USD', 's')`,
  );
  await world.target
    .collection('analysis_results_optimized')
    .insertOne({ _id: 'one' as never }, { bypassDocumentValidation: true });
  await world.redis.set('session:one', 'x');
});

const held = async () => ({
  rows: (await world.rows<{ count: string }>('select count(*) from api_usage'))[0]!.count,
  documents: await world.target.collection('analysis_results_optimized').countDocuments(),
  keys: await world.redis.exists('session:one'),
});
const everything = { rows: '1', documents: 1, keys: 1 };

/** What makes the new system count, each by itself. */
const counting: Record<string, () => Promise<unknown>> = {
  'writes have moved': () =>
    world.rows(
      `insert into migration_control.routing (collection, percentage, write_mode, epoch) values ('token_usage', 100, 'new_system', 3)`,
    ),
  'the reverse sync is anchored': () => armReverse(resources, { zone: 'UTC', providers: [] }),
};

describe.each(Object.keys(counting))('while %s', (why) => {
  test.each<[string, () => Promise<unknown>]>([
    ['data', () => undoData(resources, nothing)],
    ['schema', () => undoSchema(resources)],
    ['preparation', () => undoPreparation(resources, world.name)],
    ['anything at all', () => mayRemove(resources, 'What was copied')],
  ])('undoing %s is refused, and says what can be done', async (_, undo) => {
    await counting[why]!();
    await expect(undo()).rejects.toMatchObject({
      type: 'NewSystemAuthoritative',
      message: expect.stringContaining('`causeway rollback --to old`') as string,
    });
    expect(await held()).toEqual(everything);
    expect(await world.rows('select undo from migration_control.lifecycle')).toEqual([{ undo: standing.undo }]);
  });
});

test('a collection that a dead switch left closed is opened first, with the validation it had', async () => {
  await world.source.createCollection('token_usage', { validator: { cost: { $gte: 0 } } });
  const { close } = await import('../../activities/reverse/closing.ts');
  await world.rows(
    `insert into migration_control.routing (collection, percentage, write_mode, epoch) values ('token_usage', 50, 'dual_write', 3)`,
  );
  await world.rows(`insert into migration_control.collections (mapping, source) values ('token_usage', 'token_usage')`);
  await close(resources, ['token_usage'], randomUUID());
  await expect(world.source.collection('token_usage').insertOne({ cost: 1 })).rejects.toThrow();
  await undoData(resources, nothing);
  await world.source.collection('token_usage').insertOne({ cost: 1 });
  await expect(world.source.collection('token_usage').insertOne({ cost: -1 })).rejects.toThrow(/validation/);
  await world.source.dropCollection('token_usage');
});

test('where the old system counts, everything goes, newest first, and the schema last', async () => {
  await undoData(resources, nothing);
  // The key is nobody's that this migration knows of.
  expect(await held()).toEqual({ rows: '0', documents: 0, keys: 1 });
  await expect(undoPreparation(resources, world.name)).rejects.toMatchObject({ type: 'CompensationFailed' });
  await undoSchema(resources);
  await undoPreparation(resources, world.name);
  expect(await world.rows(`select 1 from pg_namespace where nspname = 'migration_control'`)).toEqual([]);
  await undoPreparation(resources, world.name);
});

test('while something is removed no writes move and nothing is anchored', async () => {
  await world.rows(
    `insert into migration_control.routing (collection, percentage, write_mode, epoch) values ('token_usage', 0, 'dual_write', 3)`,
  );
  let during: unknown[] = [];
  await whileOldCounts(resources.postgres, 'What was copied', async () => {
    const moving = route(resources, { collections: ['token_usage'], percentage: 0, writeMode: 'old', reason: 'test' });
    const arming = armReverse(resources, { zone: 'UTC', providers: [] });
    during = await Promise.all([moving, arming].map((one) => one.catch((error: { type: string }) => error.type)));
  });
  expect(during).toEqual(['StoreBusy', 'StoreBusy']);
});

test('a switch thought dead, whose fence stands, finds another epoch after the data was undone', async () => {
  await world.rows(
    `insert into migration_control.routing (collection, percentage, write_mode, epoch, fenced_until) values ('token_usage', 0, 'dual_write', 3, now() + interval '1 minute')`,
  );
  await undoData(resources, nothing);
  expect(await world.rows('select epoch, fenced_until from migration_control.routing')).toEqual([
    { epoch: '4', fenced_until: null },
  ]);
});

test('a control schema that was there before a preparation stays when that is undone', async () => {
  await world.rows('drop schema migration_control cascade');
  const { makeControlSchema } = await import('../../control/schema.ts');
  await makeControlSchema(world.pool, world.name);
  // A preparation that failed in its checks has written nothing down.
  await undoPreparation(resources, world.name);
  await prepareControl(resources, world.name, { ...standing, phase: 'preparation', undo: [{ undo: 'preparation' }] });
  await undoPreparation(resources, world.name);
  expect(await world.rows('select name from migration_control.migration')).toEqual([{ name: world.name }]);
  expect((await knownOf(world.pool)).standing).toBeNull();
});

test('where the migration stands is written down by whoever changes it', async () => {
  await passStage(world.pool, 2);
  await noteUndoing(world.pool, [{ undo: 'cutover' }, { undo: 'data' }]);
  expect((await knownOf(world.pool)).standing).toMatchObject({
    stage: 2,
    undoing: { steps: [{ undo: 'cutover' }, { undo: 'data' }], then: 'parked' },
  });
  await noteUndone(world.pool, { undo: 'cutover' });
  expect((await knownOf(world.pool)).standing).toMatchObject({
    phase: 'cutover',
    stage: 0,
    undoing: { steps: [{ undo: 'data' }] },
  });
  await noteUndone(world.pool, { undo: 'data' });
  expect((await knownOf(world.pool)).standing).toMatchObject({
    phase: 'data',
    undoing: null,
    undo: standing.undo.slice(0, 2),
  });
  await armReverse(resources, { zone: 'UTC', providers: [] });
  expect((await knownOf(world.pool)).authority).toEqual({ moved: [], armed: true, closed: [] });
  await disarmReverse(resources);
  expect((await knownOf(world.pool)).authority).toEqual({ moved: [], armed: false, closed: [] });
});

test('that it has parked is known as long as nothing has gone on since, and only as its last decision', async () => {
  const parked = async () => (await knownOf(resources.postgres)).parked;
  expect(await parked()).toBeNull();
  await noteAudit(resources.postgres, 'decision', { decision: 'park', reason: 'ValidationFailed: Validation failed.' });
  expect(await parked()).toBe('ValidationFailed: Validation failed.');
  await passStage(resources.postgres, 1);
  expect(await parked()).toBeNull();
  await noteAudit(resources.postgres, 'decision', { decision: 'park', reason: 'once more' });
  await noteAudit(resources.postgres, 'decision', { decision: 'rollback to old', reason: 'asked' });
  expect(await parked()).toBeNull();
});
