// A worker may begin while a MongoDB server is away: its client works once the server is there, and is silent once it is closed.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { startLegacyWriter } from '../../seed/legacy-writer.ts';
import { mongo, openMongo } from '../../stores/mongodb/connection.ts';
import { cuttable } from '../support/cuttable.ts';
import { stack } from '../support/stack.ts';

const away = async () => {
  const line = await cuttable(stack.TARGET_MONGODB_URL);
  line.cut();
  open.push({ close: line.cut });
  return line;
};

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

test('operations fail while the server is away, and succeed once it is there', { timeout: 60_000 }, async () => {
  const line = await away();
  const { client, db } = openMongo(line.url, 'source');
  open.unshift(client);
  const ping = () => mongo('asking', () => db.command({ ping: 1 }));
  for (let n = 0; n < 2; n++) await expect(ping()).rejects.toMatchObject({ type: 'StoreUnreachable' });
  await line.mend();
  await expect.poll(() => ping().then(Boolean, () => false), { timeout: 5000 }).toBe(true);
});

test('closed while it cannot connect, it tries no more', { timeout: 60_000 }, async () => {
  const line = await away();
  await line.mend();
  line.refuse();
  const { client, db } = openMongo(line.url, 'source');
  await expect(mongo('asking', () => db.command({ ping: 1 }))).rejects.toMatchObject({ type: 'StoreUnreachable' });
  const before = line.dialled();
  await expect.poll(() => line.dialled(), { timeout: 5000 }).toBeGreaterThan(before);
  await client.close();
  const dialled = line.dialled();
  await sleep(1500);
  expect(line.dialled()).toBe(dialled);
});

test('the legacy writer waits for its server', { timeout: 60_000 }, async () => {
  const line = await away();
  let failures = 0;
  const writer = startLegacyWriter({ url: line.url, perSecond: 50, seed: 1, onError: () => failures++ });
  await expect.poll(() => failures, { timeout: 15_000 }).toBeGreaterThan(1);
  await line.mend();
  await expect.poll(() => writer.totals().insert, { timeout: 15_000 }).toBeGreaterThan(0);
  await writer.stop();
});
