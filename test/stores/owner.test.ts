// The stores say whose they are: by their own words before the migration has claimed them, by their marks afterwards.
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { compare, identify, markTargets } from '../../activities/identity.ts';
import { prepareControl, undoPreparation } from '../../activities/record.ts';
import { openResources, type Resources } from '../../activities/resources.ts';
import { undoData } from '../../activities/targets.ts';
import { stores } from '../../cli/commands/stores.ts';
import { claimOf, ownerCheck } from '../../control/owner.ts';
import { inTransaction, query } from '../../stores/postgres/connection.ts';
import { postgresIdentity } from '../../stores/postgres/identity.ts';
import { readEnvironment } from '../../workers/environment.ts';
import { begun } from '../support/standing.ts';
import { World } from '../support/world.ts';

let world: World;
let bare: Resources;

beforeAll(async () => {
  world = await World.open('owner');
  await world.source.collection('users').insertOne({ username: 'a' });
  bare = await world.resources();
});

afterAll(async () => {
  await bare?.close();
  await world?.close();
});

const at = (changes: Record<string, string>) =>
  openResources(readEnvironment({ ...world.environment, ...changes }).addresses, world.home, { host: '', process: '' });

const owned = async (owner: { migration: string; stores: string }) =>
  openResources(readEnvironment(world.environment).addresses, world.home, { host: '', process: '', owner });

const url = (name: string) => world.environment[name]!;

test('two spellings of the same stores are one fingerprint, another database of one of them is another', async () => {
  const { owner } = await identify(bare, 'm');
  const spelled = await at({
    TARGET_POSTGRES_URL: url('TARGET_POSTGRES_URL').replace('127.0.0.1', 'localhost') + '?application_name=x',
    TARGET_MONGODB_URL: url('TARGET_MONGODB_URL').replace('127.0.0.1', 'LOCALHOST'),
    TARGET_REDIS_URL: url('TARGET_REDIS_URL').replace('127.0.0.1', 'localhost'),
  });
  expect((await identify(spelled, 'm')).owner).toEqual(owner);
  await spelled.close();
  const others = [
    { SOURCE_MONGODB_URL: url('SOURCE_MONGODB_URL').replace(/\/[a-z_0-9]+\?/, '/elsewhere?') },
    { TARGET_MONGODB_URL: url('TARGET_MONGODB_URL').replace(/\/[a-z_0-9]+\?/, '/elsewhere?') },
    { TARGET_REDIS_URL: url('TARGET_REDIS_URL').replace(/\/\d+$/, '/15') },
    { TARGET_POSTGRES_URL: url('TARGET_POSTGRES_URL').replace(/\/[a-z_0-9]+$/, '/postgres') },
  ];
  for (const other of others) {
    const resources = await at(other);
    expect((await identify(resources, 'm')).owner.stores, Object.keys(other)[0]).not.toBe(owner.stores);
    await resources.close();
  }
});

test('a claimed database refuses every transaction of another migration or of other stores, and undo of both', async () => {
  const { owner } = await identify(bare, 'm');
  const ours = await owned(owner);
  await prepareControl(ours, 'm', begun);
  await inTransaction(ours.postgres, 'ours', (client) => client.query('select 1'));
  for (const other of [
    { ...owner, migration: 'other' },
    { ...owner, stores: 'f'.repeat(12) },
  ]) {
    const foreign = await owned(other);
    const refused = {
      type: 'ForeignStores',
      message: expect.stringContaining('belongs to the migration "m"') as string,
    };
    await expect(inTransaction(foreign.postgres, 'theirs', (client) => client.query('select 1'))).rejects.toMatchObject(
      refused,
    );
    await expect(undoData(foreign, () => undefined)).rejects.toMatchObject(refused);
    await expect(
      inTransaction(bare.postgres, 'asked', (client) => query(client, 'asked', ownerCheck(other))),
    ).rejects.toMatchObject(refused);
    await expect(undoPreparation(foreign, other.migration))
      .resolves.toBeUndefined()
      .catch(() => undefined);
    expect((await claimOf(bare.postgres))?.migration).toBe('m');
    await foreign.close();
  }
  await expect(identify(bare, 'other')).rejects.toMatchObject({
    type: 'ForeignStores',
    message: expect.stringContaining('`--migration m`') as string,
  });
  await ours.close();
});

test('a store at another address is the same by what it holds; another one is named', async () => {
  const claim = (await claimOf(bare.postgres))!;
  // As the claim would read had the servers been on other ports.
  const moved = {
    ...claim,
    identities: {
      ...claim.identities,
      source: claim.identities.source.replace(/:\d+/, ':1'),
      mongodb: 'mongodb elsewhere/x',
      redis: 'redis elsewhere/0',
    },
  };
  const postgres = await postgresIdentity(bare.postgres, bare.addresses.postgres);
  expect(await compare(bare, moved, postgres)).toEqual({ differing: [], silent: [] });
  const { differing } = await compare(
    bare,
    { ...moved, migration: 'another', identities: { ...moved.identities, collections: [], postgres: 'postgres 1/x' } },
    postgres,
  );
  expect(differing.map((one) => one.store).sort()).toEqual(['mongodb', 'postgres', 'redis', 'source']);
});

/** The command itself, in this process. */
async function command(...args: string[]) {
  const named = args.includes('--migration') ? args : [...args, '--migration', 'm'];
  for (const [key, value] of Object.entries(world.environment)) vi.stubEnv(key, value);
  let stdout = '';
  const said = vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((stdout += String(text)), true));
  process.exitCode = undefined;
  try {
    await stores().parseAsync(named, { from: 'user' });
    return { code: process.exitCode ?? 0, stdout };
  } finally {
    said.mockRestore();
    process.exitCode = undefined;
    vi.unstubAllEnvs();
  }
}

test("stores --accept goes on with the same data at another place, and with nothing that is another migration's", async () => {
  const claim = (await claimOf(bare.postgres))!;
  expect(await command()).toMatchObject({ code: 0, stdout: expect.stringContaining('the same') as string });
  // As after a dump that was loaded into new servers: other numbers, other collections' ids, and no marks.
  await world.rows(
    `update migration_control.migration set stores = stores || '{"source": "mongodb 1/x", "mongodb": "mongodb 2/y", "redis": "redis elsewhere/0", "collections": []}'`,
  );
  await world.redis.del('causeway:owner');
  await world.target.collection('causeway_owner').deleteMany({});
  await expect(identify(bare, 'm')).rejects.toMatchObject({
    type: 'ForeignStores',
    message: expect.stringContaining('`causeway stores --accept`') as string,
  });
  const before = await command();
  expect(before).toMatchObject({ code: 1, stdout: expect.stringContaining('redis elsewhere/0: another') as string });
  expect(await world.redis.exists('causeway:owner')).toBe(0);
  expect(await command('--accept')).toMatchObject({ code: 0 });
  const accepted = (await claimOf(bare.postgres))!;
  // The queue is the same: what waits there is still this migration's.
  expect(accepted.stores).toBe(claim.stores);
  expect(accepted.identities).toEqual(claim.identities);
  expect(await world.redis.hgetall('causeway:owner')).toEqual({ migration: 'm', stores: claim.stores });
  expect((await identify(bare, 'm')).owner).toEqual({ migration: 'm', stores: claim.stores });
  expect(JSON.parse((await command('--json')).stdout)).toMatchObject({ claimed: true, differing: [] });

  await world.redis.hset('causeway:owner', { migration: 'another', stores: 'f'.repeat(12) });
  await expect(command('--accept')).rejects.toMatchObject({ type: 'ForeignStores' });
  await world.redis.hset('causeway:owner', { migration: 'm', stores: claim.stores });
  await expect(command('--accept', '--migration', 'other')).rejects.toMatchObject({ type: 'ForeignStores' });
  expect((await claimOf(bare.postgres))!.migration).toBe('m');
});

test('a target that another migration has marked is neither claimed nor emptied', async () => {
  const { owner } = await identify(bare, 'm');
  await world.redis.hset('causeway:owner', { migration: 'another', stores: 'f'.repeat(12) });
  const ours = await owned(owner);
  const refused = {
    type: 'ForeignStores',
    message: expect.stringContaining('The target Redis belongs to the migration "another"') as string,
  };
  await world.redis.set('session:a', 'theirs');
  await expect(undoData(ours, () => undefined)).rejects.toMatchObject(refused);
  await expect(markTargets(ours, owner)).rejects.toMatchObject(refused);
  await expect(undoPreparation(ours, 'm')).rejects.toMatchObject(refused);
  expect(await world.redis.get('session:a')).toBe('theirs');
  await world.redis.del('session:a');
  await world.redis.hset('causeway:owner', { ...owner });
  await undoPreparation(ours, 'm');
  expect(await world.redis.exists('causeway:owner')).toBe(0);
  expect(await world.target.collection('causeway_owner').countDocuments()).toBe(0);
  expect(await claimOf(bare.postgres)).toBeUndefined();
  await ours.close();
  await rm(world.home, { recursive: true, force: true });
});
