// Queue names, and spellings of one address.
import { expect, test } from 'vitest';
import { fingerprintOf } from '../../activities/identity.ts';
import { ownerOf, queueOf } from '../../core/owner.ts';
import { plainHost } from '../../core/store-address.ts';

const stores = {
  source: 'mongodb a/x',
  postgres: 'postgres 1/x',
  mongodb: 'mongodb b/x',
  redis: 'redis localhost:6379/0',
};

test('a queue names its migration and the fingerprint of its stores, and nothing else is such a name', () => {
  const owner = { migration: 'shop.v2_a-1', stores: fingerprintOf(stores) };
  expect(owner.stores).toMatch(/^[0-9a-f]{12}$/);
  expect(ownerOf(queueOf(owner))).toEqual(owner);
  for (const other of ['causeway', 'causeway/default', `${queueOf(owner)}/capture`, 'causeway//0123456789ab'])
    expect(ownerOf(other), other).toBeUndefined();
});

test('another store, and two stores that have changed places, are another fingerprint', () => {
  const all = [
    stores,
    ...Object.keys(stores).map((store) => ({ ...stores, [store]: 'another' })),
    { ...stores, source: stores.mongodb, mongodb: stores.source },
  ].map(fingerprintOf);
  expect(new Set(all).size).toBe(all.length);
});

test.each([
  ['LOCALHOST', 'localhost:1'],
  ['127.0.0.1', 'localhost:1'],
  ['127.1.2.3', 'localhost:1'],
  ['::1', 'localhost:1'],
  ['[::1]', 'localhost:1'],
  ['::ffff:127.0.0.1', 'localhost:1'],
  ['DB.Example.org.', 'db.example.org:1'],
  ['10.0.0.1', '10.0.0.1:1'],
  ['localhost.example.org', 'localhost.example.org:1'],
])('%s is %s', (host, plain) => expect(plainHost(host, 1)).toBe(plain));
