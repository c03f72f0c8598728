// What a dead worker leaves in the spool: a new one removes it, but not what a copy or a living process still needs.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { enroll } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { tidySpool } from '../../activities/tidy-spool.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { draftName } from '../../spool/segment.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
const hash = '0123456789abcdef';

beforeAll(async () => {
  world = await World.open('tidy');
  resources = await world.resources();
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

const make = async (path: string) => {
  await resources.spool.make(path);
  await resources.spool.store(path, 'documents.bson', 'secret');
};
const isThere = (path: string) => existsSync(join(resources.spool.folder, path));

test('where there is no migration everything goes, whatever it is called', async () => {
  for (const path of [`users/users/0/0-${hash}`, 'users/users/0/draft-0-older', 'stray']) await make(path);
  expect(await tidySpool(resources.spool, resources.postgres)).toBe(3);
  expect(await resources.spool.segments()).toEqual([]);
});

test('segments that a copy waits for stay, for an hour; loaded, superseded and unplanned ones and drafts of the dead go', async () => {
  await makeControlSchema(resources.postgres, world.name);
  const id = await enroll(resources, 'users', 'users');
  await resources.postgres.query(
    'insert into migration_control.chunks (collection_id, chunk) values ($1, 0), ($1, 1)',
    [id],
  );
  const loaded = `users/users/0/0-${hash}`;
  await resources.postgres.query(
    `insert into migration_control.migration_batches (batch_id, collection, collection_id, chunk, segment, ends_chunk, status, documents, loaded,
       quarantined, skipped, bytes, version, started_at, attempt, run_id)
     values ($1, 'users', $2, 0, 0, false, 'loaded', 1, 1, 0, 0, 1, 1, now(), 1, '')`,
    [loaded, id],
  );
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  const awaited = `users/users/0/1-${hash}`;
  const old = `users/users/1/0-${hash}`;
  const ours = `users/users/1/${draftName(1)}`;
  const gone = [
    loaded,
    `users/users/0/0-fedcba9876543210`,
    `users/users/2/0-${hash}`,
    `sessions/sessions/0/0-${hash}`,
    `users/users/1/${draftName(1).replace(String(process.pid), String(dead))}`,
  ];
  for (const path of [awaited, old, ours, ...gone]) await make(path);
  await utimes(join(resources.spool.folder, old), Date.now() / 1000 - 3700, Date.now() / 1000 - 3700);
  await tidySpool(resources.spool, resources.postgres);
  expect([awaited, ours].filter((path) => !isThere(path))).toEqual([]);
  expect([old, ...gone].filter(isThere)).toEqual([]);
});
