// Bearer credentials and keys of documents do not stand in the clear in what Causeway keeps of its work.
import { Binary, ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { randomBytes } from 'node:crypto';
import { applyChanges, feedsOf, type Feed } from '../../activities/apply.ts';
import { extractSegment, OpenReads } from '../../activities/extract.ts';
import { planChunks } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { makePostgres } from '../../activities/targets.ts';
import { holdersOfKey } from '../../control/lineage.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { requireKey } from '../../control/sealing.ts';
import { ownVault } from '../../control/vault.ts';
import { readSettings, type Settings } from '../../core/settings.ts';
import { sourceId } from '../../core/identity.ts';
import { serialize } from 'bson';
import { inTransaction, openPool } from '../../stores/postgres/connection.ts';
import { clusterTimeOf } from '../../stores/mongodb/source.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
let feed: Feed;
const secret = 'bearer-7f9c2e';
const read = readSettings({});
const settings = { ...('settings' in read ? read.settings : ({} as Settings)), chunkDocuments: 4, parallelism: 2 };

beforeAll(async () => {
  world = await World.open('secrets');
  resources = await world.resources();
  await makeControlSchema(resources.postgres, world.name);
  await makePostgres(resources, ['subscription_users', 'sessions']);
  await world.source.collection('sessions').insertMany(
    Array.from({ length: 12 }, (_, i) => ({
      _id: `${secret}-${i}` as unknown as ObjectId,
      session_id: `${secret}-${i}`,
      created_at: new Date(),
      expires_at: new Date(Date.now() + 3_600_000),
      avatar: new Binary(randomBytes(8)),
    })),
  );
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

test('no `_id` is a bound in history or in the tables, and the copy goes on from one', async () => {
  const plan = await planChunks(resources, 'sessions', ['sessions'], settings, () => undefined);
  const again = await planChunks(resources, 'sessions', ['sessions'], settings, () => undefined);
  expect(again.chunks).toEqual(plan.chunks);
  expect(plan.chunks.length).toBeGreaterThan(1);
  const kept: unknown[] = [plan, ...(await world.rows('select lower_id, upper_id from migration_control.chunks'))];
  let documents = 0;
  for (const { source, chunk, upTo, after, averageBytes } of plan.chunks) {
    let at = after;
    for (let segment = 0, ended = false; !ended; segment++) {
      const extracted = await extractSegment(
        resources,
        new OpenReads(),
        {
          collection: 'sessions',
          source,
          chunk,
          segment,
          after: at,
          upTo,
          averageBytes,
          limits: { bytes: 1e6, documents: 2 },
        },
        { heartbeat: (position) => void kept.push(position), resumeAt: undefined, cancelled: () => false },
      );
      kept.push(extracted);
      documents += extracted.reference.documents;
      at = extracted.lastId;
      ended = extracted.endsChunk;
    }
  }
  expect(documents).toBe(12);
  expect(JSON.stringify(kept)).not.toContain(secret);
});

test('the ledger holds the Redis keys of a document encrypted, and finds the document by one', async () => {
  feed = (await feedsOf(resources)).get('sessions')!;
  const document = {
    _id: new ObjectId(),
    session_id: secret,
    created_at: new Date(),
    expires_at: new Date(Date.now() + 3_600_000),
  };
  const change = (its: typeof document, time: bigint) => ({
    feed,
    id: sourceId(its._id),
    version: { time, op: 0 },
    bytes: serialize(its),
  });
  const now = await clusterTimeOf(world.source);
  const apply = (its: typeof document, time: bigint) =>
    inTransaction(resources.postgres, 'testing', (client) =>
      applyChanges(resources, client, [change(its, time)], { zone: 'UTC', providers: [] }),
    );
  await apply(document, now);
  expect(await world.redis.exists(`session:${secret}`)).toBe(1);
  const ledger = JSON.stringify(await world.rows(`select keys from migration_control.ledger where keys is not null`));
  expect(ledger).not.toContain(secret);
  expect(ledger).toMatch(/v1\./);
  const holders = await holdersOfKey(resources.postgres, ['sessions'], `session:${secret}`);
  expect(holders.map((one) => one.sourceId)).toEqual([sourceId(document._id)]);
  // The key that a newer version no longer has goes, found in what was encrypted.
  await apply({ ...document, session_id: 'renewed' }, now + 1n);
  expect(await world.redis.exists(`session:${secret}`)).toBe(0);
  expect(await world.redis.exists('session:renewed')).toBe(1);
});

test('a host with another key is refused with a sentence that says whose key it needs', async () => {
  const here = ownVault().textKey;
  vi.stubEnv('CAUSEWAY_QUARANTINE_KEY', randomBytes(32).toString('base64'));
  const pool = openPool(world.environment['TARGET_POSTGRES_URL']!, 1);
  const other = ownVault().textKey;
  await expect(requireKey(pool)).rejects.toThrow(new RegExp(`${here}.*${other}.*CAUSEWAY_QUARANTINE_KEY`));
  await expect(planChunks(resources, 'sessions', ['sessions'], settings, () => undefined)).rejects.toThrow(here);
  vi.unstubAllEnvs();
  await requireKey(pool);
  await pool.end();
});
