// A worker killed with -9 at random moments: nothing is lost, nothing doubled, nothing done twice.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { size } from '../soak/options.ts';
import { accountFor, feeds } from '../support/accounting.ts';
import { World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await World.open('kill');
});
afterAll(() => world.close());

interface BatchRow {
  batch_id: string;
  finished_at: Date;
  run_id: string;
  attempt: number;
}

/** One in `npm test`, three and more documents in `npm run soak -- kill`. */
const waits = [2500, 900, 1700].slice(0, size.kills ?? 1);

test(`${waits.length} killed, and every document stands once`, async () => {
  await world.seed(size.documents ?? 8000, 0.02);
  const batches = () =>
    world
      .rows<BatchRow>(
        'select batch_id, finished_at, run_id, attempt from migration_control.migration_batches order by batch_id',
      )
      .catch(() => [] as BatchRow[]);
  let worker = await world.worker();
  expect((await world.causeway(['start', '--until', 'data'])).code).toBe(0);
  let before: BatchRow[] = [];
  for (const wait of waits) {
    for (let tries = 0; tries < 200 && (await batches()).length <= before.length; tries++) await sleep(50);
    await sleep(wait * Math.random());
    worker.kill('SIGKILL');
    await sleep(200);
    const after = await batches();
    // What was loaded before the last kill was not touched since.
    expect(after.filter((one) => before.some((old) => old.batch_id === one.batch_id))).toEqual(before);
    before = after;
    worker = await world.worker();
  }
  const status = await world.until((one) => one.state === 'completed' || one.state === 'parked', 150_000);
  expect(status.lastError).toBeNull();
  for (const [mapping, sources] of Object.entries(feeds)) await accountFor(world, mapping, sources);
  const [twice] = await world.rows<{ count: string }>(
    'select count(*) from (select source_id from api_usage group by source_id having count(*) > 1) twice',
  );
  expect(Number(twice!.count)).toBe(0);
  const [rows] = await world.rows<{ rows: string; loaded: string }>(
    `select (select count(*) from api_usage) as rows, (select count(*) from migration_control.accounting where collection = 'token_usage' and state = 'loaded') as loaded`,
  );
  expect(rows!.rows).toBe(rows!.loaded);
  // No document was read into two batches: chunks go on where they were.
  const [overlap] = await world.rows<{ documents: string; keys: string }>(
    `select (select sum(documents) from migration_control.migration_batches) as documents, (select count(*) from migration_control.ledger) as keys`,
  );
  expect(overlap!.documents).toBe(overlap!.keys);
});
