// An application of one's own is a folder: it is found, its table made, its documents migrated, with no other file touched and nothing else loaded.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Double, ObjectId } from 'bson';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { World } from '../support/world.ts';

const root = new URL('../../', import.meta.url).pathname;
const mapping = `
import { z } from '${root}node_modules/zod/index.js';
import { quarantine } from '${root}core/quarantine.ts';
import { jsonb, hypertable, text, timestamptz } from '${root}stores/postgres/target.ts';
import { readInstant } from '${root}mappings/fields/instant.ts';
import { residual } from '${root}mappings/fields/residual.ts';
import { defineMapping } from '${root}mappings/mapping.ts';

const columns = new Set(['title', 'publish_time']);

export const application = [defineMapping({
  collection: 'stock_news',
  class: 'historical',
  shape: z.looseObject({ title: z.string() }),
  targets: [hypertable('stock_news', { time: 'published_at', columns: { published_at: timestamptz({ notNull: true }), title: text({ notNull: true }), metadata: jsonb() } })],
  transform(document, notes, { zone }) {
    const published = readInstant(document.publish_time, zone);
    if (!published) quarantine('publish_time_valid', 'publish_time', 'publish_time is no point in time');
    return { stock_news: [{ published_at: published.micros, title: document.title, metadata: residual(document, columns, notes) }] };
  },
})];
`;

let world: World;
beforeAll(async () => {
  world = await World.open('seventh');
  const folder = join(world.home, 'mappings');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'index.mts'), mapping);
  await writeFile(join(world.home, 'settings.json'), JSON.stringify({ quarantineBudget: 0.9 }));
});
afterAll(() => world.close());

test('stock_news is migrated by a folder of its own, and no collection beside it', async () => {
  const news = Array.from({ length: 500 }, (_, i) => ({
    _id: new ObjectId(),
    title: `news ${i} 📈`,
    publish_time: new Date(Date.UTC(2025, 0, 1 + i)),
    sentiment_score: new Double(NaN),
    symbols: ['600519'],
  }));
  await world.source
    .collection('stock_news')
    .insertMany([...news, { _id: new ObjectId(), title: 'undated', publish_time: null } as never]);
  const extra = { CAUSEWAY_MAPPINGS: join(world.home, 'mappings') };
  await world.worker(extra);
  const ran = await world.causeway(
    ['start', '--until', 'data', '--wait', '--json', '--config', join(world.home, 'settings.json')],
    extra,
  );
  expect(ran.code, ran.stderr + ran.stdout).toBe(0);
  const rows = await world.rows<{ title: string; metadata: { symbols: string[]; sentiment_score: null } }>(
    'select title, metadata from stock_news order by published_at',
  );
  expect(rows.length).toBe(500);
  expect(await world.rows(`select to_regclass('users') as users`)).toEqual([{ users: null }]);
  expect(rows[0]).toMatchObject({ title: 'news 0 📈', metadata: { symbols: ['600519'], sentiment_score: null } });
  expect(await world.rows(`select rule from migration_control.migration_errors`)).toEqual([
    { rule: 'publish_time_valid' },
  ]);
});
