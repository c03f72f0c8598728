// The shop's ten mappings: whole, in the order of loading, and short.
import { readFileSync } from 'node:fs';
import { Double, Int32, ObjectId, serialize } from 'bson';
import { expect, test } from 'vitest';
import { checked } from '../../mappings/language/application.ts';
import { forward } from '../../mappings/language/forward.ts';
import { application } from '../../mappings/shop/index.ts';
import { carts, sessions } from '../../mappings/shop/small.ts';

const settings = { asOf: Date.UTC(2027, 0, 1) };
const outcomeOf = (name: string, document: object) => {
  const result = forward(
    application.find((one) => one.collection === name)!,
    serialize(document),
    settings,
  );
  return result.state === 'loaded' ? result.outcome : result;
};

test('ten mappings, each after what it refers to, none longer than 75 lines', () => {
  const sorted = checked(application.map((declaration) => ({ from: 'shop', declaration }))).map(
    (one) => one.collection,
  );
  expect(sorted).toHaveLength(10);
  for (const [first, then] of [
    ['users', 'orders'],
    ['products', 'orders'],
    ['categories', 'products'],
    ['coupons', 'orders'],
  ] as const)
    expect(sorted.indexOf(first)).toBeLessThan(sorted.indexOf(then));
  for (const file of ['orders', 'users', 'products'])
    expect(
      readFileSync(new URL(`../../mappings/shop/${file}.ts`, import.meta.url), 'utf8').split('\n').length,
    ).toBeLessThanOrEqual(76);
});

test('an order and its document for the search come of one document', () => {
  const _id = new ObjectId();
  const items = [{ sku: 'x', qty: new Int32(1), price: new Double(2) }];
  const order = {
    _id,
    number: 'A',
    status: 'paid',
    total: new Double(2),
    currency: 'EUR',
    placed_at: new Date(0),
    paid: true,
    items,
  };
  expect(outcomeOf('orders', order)).toMatchObject({
    orders: [{ number: 'A' }],
    order_items: [{ sku: 'x', position: 0 }],
    order_search: [{ _id, number: 'A', total: new Double(2), skus: ['x'] }],
  });
});

test('keys with and without expiry', () => {
  expect(outcomeOf(carts.collection, { _id: 1, owner: 'o', lines: [1] })).toMatchObject({
    cart_keys: [{ key: 'o', value: { lines: [1] }, expiresAt: null }],
  });
  expect(outcomeOf(sessions.collection, { _id: 1, token: 't', expires_at: new Date(5000) })).toMatchObject({
    session_keys: [{ key: 't', expiresAt: 5000 }],
  });
});
