// Gaps of capture: one stands open, what happens while it is repaired is added, and its repair does not close that.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { closeGap } from '../../activities/capture/repair.ts';
import type { Resources } from '../../activities/resources.ts';
import { kindsText } from '../../cli/commands/verify.ts';
import { currentGap, openGap } from '../../control/capture.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { kindsOf } from '../../control/verification-report.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
beforeAll(async () => {
  world = await World.open('gaps');
  resources = await world.resources();
  await makeControlSchema(resources.postgres, world.name);
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

const certificate = { scanned: 1, rewritten: 0, deleted: 0, collections: {} };
const drop = (collection: string) =>
  openGap(resources.postgres, { kind: 'drop', collection, detail: `${collection} was dropped`, from: 1n });
/** As when the stream is opened anew. */
const repairing = () =>
  world.rows('update migration_control.capture_gaps set repairing = true where closed_at is null');

test('a repair closes the gap it began with, and tells of one that opened meanwhile', async () => {
  await drop('users');
  await drop('users');
  await repairing();
  await drop('sessions');
  expect(await closeGap(resources, certificate)).toBe(
    'users was dropped; then, while that was repaired, sessions was dropped',
  );
  expect(await currentGap(resources.postgres)).toMatchObject({ kind: 'drop', collection: 'sessions' });
  await repairing();
  expect(await closeGap(resources, certificate)).toBeUndefined();
  expect(await currentGap(resources.postgres)).toBeUndefined();
});

test('a gap that opens during a repair of nothing stays open', async () => {
  await drop('metadata');
  expect(await closeGap(resources, certificate)).toBe('metadata was dropped');
  await repairing();
  await closeGap(resources, certificate);
});

test('what a verification has found is counted by kind, however long the list is', async () => {
  await world.rows(
    `insert into migration_control.verification_runs (scope, state, from_version, settled_version) values ('', 'finished', 1, 1)`,
  );
  await world.rows(
    `insert into migration_control.verification_keys (run_id, kind, collection_id, mapping, id, state, finding)
     select 1, 'document', 1, 'users', i::text, case when i <= 170 then 'different' else 'suspect' end, case when i <= 120 then 'missing' else 'extra' end
     from generate_series(1, 173) i`,
  );
  expect(kindsText(await kindsOf(resources.postgres, 1))).toBe(
    '120 different (missing), 50 different (extra), 3 open (extra)',
  );
});
