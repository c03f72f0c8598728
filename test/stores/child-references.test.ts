// Rows that belong to another row and name a third: the copy ends, and the deletion of the row they name stops no lane.
import { serialize } from 'bson';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { applyChanges, feedsOf } from '../../activities/apply.ts';
import { findReferences, parentsOf, redoDue } from '../../activities/capture/redo.ts';
import { enroll } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { makePostgres, settleCollection } from '../../activities/targets.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { sourceId } from '../../core/identity.ts';
import { defineMapping, type Document } from '../../mappings/mapping.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { integer, Reference, table, text } from '../../stores/postgres/target.ts';
import { World } from '../support/world.ts';

const products = defineMapping({
  collection: 'products',
  class: 'static',
  shape: z.looseObject({}),
  targets: [table('products', { columns: { sku: text({ notNull: true }) } })],
  transform: (document) => ({ products: [{ sku: String(document['sku']) }] }),
});
const orders = defineMapping({
  collection: 'orders',
  class: 'active',
  after: ['products'],
  shape: z.looseObject({}),
  targets: [
    table('orders', { columns: { note: text() } }),
    table('order_lines', {
      child: { of: 'orders', column: 'order_id', unique: ['line'] },
      columns: {
        line: integer({ notNull: true }),
        product_id: { type: 'bigint', references: { table: 'products', by: ['sku'] } },
      },
    }),
  ],
  transform: (document) => ({
    orders: [{ note: String(document['note']) }],
    order_lines: (document['skus'] as string[]).map((sku, line) => ({
      line,
      product_id: new Reference('products', [['sku', sku]]),
    })),
  }),
});

let world: World;
let resources: Resources;
let time = BigInt(Math.floor(Date.now() / 1000)) << 32n;
const settings = { zone: 'UTC', providers: [] };

beforeAll(async () => {
  world = await World.open('child_references');
  const own = await world.resources();
  resources = { ...own, mappings: new Map([products, orders].map((one) => [one.collection, one])) } as Resources;
  await makeControlSchema(resources.postgres, world.name);
  await makePostgres(resources, ['products', 'orders']);
  for (const collection of ['products', 'orders']) await enroll(resources, collection, collection);
  await world.rows(
    `insert into migration_control.capture_stream (token, opened_version, version, last_version, last_op_index, lanes, images)
     values ('{}', 1, 9000000000000000000, 0, 0, 1, 'updateLookup')`,
  );
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

async function apply(source: string, _id: string, document: Document | undefined): Promise<void> {
  const feed = (await feedsOf(resources)).get(source)!;
  const at = world.source.collection<{ _id: string }>(source);
  await (document ? at.replaceOne({ _id }, document, { upsert: true }) : at.deleteOne({ _id }));
  const bytes = document && serialize({ _id, ...document });
  const change = { feed, id: sourceId(_id), version: { time: ++time, op: 0 }, bytes };
  await inTransaction(resources.postgres, 'testing', (client) => applyChanges(resources, client, [change], settings));
}
const lines = () =>
  world.rows<{ line: number; sku: string | null }>(
    'select l.line, p.sku from order_lines l left join products p on p.id = l.product_id order by l.line',
  );
const again = async () => {
  const feeds = new Map([...(await feedsOf(resources)).values()].map((feed) => [feed.collectionId, feed]));
  await findReferences(resources.postgres, parentsOf(resources, feeds));
  while ((await redoDue(resources, feeds, settings, 1)) > 0);
};

test('the copy of such rows ends, one that names a row that is gone loses it and is read again', async () => {
  await apply('products', 'p1', { sku: 'one' });
  await apply('products', 'p2', { sku: 'two' });
  await apply('orders', 'o1', { note: 'n', skus: ['one', 'two'] });
  await world.rows(`update order_lines set product_id = 99 where line = 0`);
  await settleCollection(resources, 'orders', 'configuration');
  expect(await lines()).toEqual([
    { line: 0, sku: null },
    { line: 1, sku: 'two' },
  ]);
  expect(await world.rows('select source_id, reason from migration_control.redo')).toEqual([
    { source_id: '"o1"', reason: 'reference' },
  ]);
  await again();
  expect((await lines())[0]!.sku).toBe('one');
});

test('the deletion of a row that they name goes through, and its return brings the reference back', async () => {
  await apply('products', 'p1', undefined);
  expect((await lines())[0]!.sku).toBe(null);
  await again();
  await apply('products', 'p3', { sku: 'one' });
  await again();
  expect((await lines())[0]!.sku).toBe('one');
});
