// Whoever compares goes by the settings in force, and by the tables that are there: not by what a stage was started with, nor by other mappings'.
import { serialize } from 'bson';
import { ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { applyChanges, feedsOf } from '../../activities/apply.ts';
import { Slice } from '../../activities/capture/slice.ts';
import { sampleEvidence } from '../../activities/evidence.ts';
import { enroll } from '../../activities/plan.ts';
import { keepPolicy } from '../../activities/policy.ts';
import type { Resources } from '../../activities/resources.ts';
import { makePostgres } from '../../activities/targets.ts';
import { readHeld } from '../../activities/verify/held.ts';
import { bucketDigests } from '../../activities/verify/read-back.ts';
import { verifierOf } from '../../activities/verify/verifier.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { sourceId } from '../../core/identity.ts';
import { clusterTimeOf } from '../../stores/mongodb/source.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
const inForce = { zone: 'Asia/Shanghai', providers: ['acme-new'] };
const older = { zone: 'Asia/Shanghai', providers: [] };
const documents = Array.from({ length: 12 }, (_, i) => ({
  _id: new ObjectId(),
  timestamp: new Date(Date.now() - i * 60_000).toISOString(),
  provider: 'acme-new',
  model_name: 'model',
  input_tokens: 5,
  output_tokens: 7,
  cost: 0.5,
  session_id: `s${i}`,
  analysis_type: 'stock_analysis',
  user_id: 'nobody',
}));

beforeAll(async () => {
  world = await World.open('inforce');
  resources = await world.resources();
  await makeControlSchema(resources.postgres, world.name);
  // `collections: ["token_usage"]`: no table of users.
  await makePostgres(resources, ['token_usage']);
  await enroll(resources, 'token_usage', 'token_usage');
  await keepPolicy(resources.postgres, { ...inForce, configurationDirectory: 'configuration' });
  await world.source.collection('token_usage').insertMany(documents);
  const feed = (await feedsOf(resources)).get('token_usage')!;
  const time = await clusterTimeOf(world.source);
  await inTransaction(resources.postgres, 'testing', (client) =>
    applyChanges(
      resources,
      client,
      documents.map((document) => ({
        feed,
        id: sourceId(document._id),
        version: { time, op: 0 },
        bytes: serialize(document),
      })),
      inForce,
    ),
  );
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

test('evidence is sampled under the settings in force', async () => {
  expect(await world.rows('select 1 from api_usage')).toHaveLength(documents.length);
  const order = { collections: ['token_usage'], windowSeconds: 60, settings: older };
  const { collections } = await sampleEvidence(resources, order, () => undefined);
  const { validation } = collections['token_usage']!;
  expect(validation).toMatchObject({ corrupted: 0, missing: 0, failed: 0 });
  expect(validation.checked).toBeGreaterThan(0);
});

test('a verification reads rows back whose parents are no part of the migration', async () => {
  const slice = new Slice(60_000, new AbortController().signal, () => undefined);
  const order = { ...older, configurationDirectory: 'configuration', rowsPerSecond: 0 };
  const verifier = await verifierOf(resources, order, 1, slice);
  const [ground] = verifier.scope;
  const now = await clusterTimeOf(world.source);
  const digests = await bucketDigests(resources.postgres, ground!, { after: null, upTo: null }, now);
  expect([...digests.values()].reduce((sum, one) => sum + one.items, 0)).toBe(2 * documents.length);
  const ids = documents.map((document) => sourceId(document._id));
  expect((await readHeld(verifier, ground!, ids, now)).rows.size).toBe(documents.length);
});
