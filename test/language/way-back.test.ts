// The way back: one change per list, entries aligned by key or place, everything else byte for byte as it was.
import { Binary, Double, Int32, ObjectId, serialize } from 'bson';
import { describe, expect, test } from 'vitest';
import { shownOf } from '../../core/bson/shown.ts';
import { sourceIdOf } from '../../core/identity.ts';
import type { Declaration } from '../../mappings/language/declare.ts';
import { forward, type Content } from '../../mappings/language/forward.ts';
import { put } from '../../mappings/language/put.ts';
import type { AnyRow } from '../../mappings/language/read.ts';
import { Parent } from '../../stores/postgres/target.ts';
import { audit, coupons, orders, users } from './samples.ts';

const settings = { asOf: Date.UTC(2027, 0, 1) };
const line = (sku: string, more = {}) => ({
  sku,
  qty: new Int32(1),
  price: new Double(5),
  discounts: [{ coupon: 'c', amount: new Double(1) }],
  gift: sku,
  ...more,
});
const order = {
  _id: new ObjectId('64b000000000000000000001'),
  status: 'paid',
  number: 'A-1',
  userId: new ObjectId('64b0000000000000000000aa'),
  total: '15.00 €',
  currency: 'EUR',
  placed_at: new Date(1_700_000_000_000),
  paid: true,
  shipping_address: { floor: new Int32(3), city: 'Berlin' },
  items: [line('a'), line('b'), line('c')],
  status_history: null,
  note: { x: new Int32(1), y: ['z'] },
};
const content = (declaration: Declaration, bytes: Uint8Array): Content => {
  const result = forward(declaration, bytes, settings);
  if (result.state !== 'loaded') throw new Error(JSON.stringify(result));
  return result.content;
};
const changed = (declaration: Declaration, document: object, table: string, change: (row: AnyRow) => AnyRow) => {
  const old = serialize(document);
  const its = content(declaration, old);
  const rows = { ...its.rows, [table]: change(structuredRow(its.rows[table]!)) };
  return put(declaration, { sourceId: sourceIdOf(old), old, wanted: { ...its, rows }, settings });
};
const structuredRow = (row: AnyRow): AnyRow => ({ ...row });
const items = (row: AnyRow) => row['items'] as readonly AnyRow[];
const expectShown = (bytes: Uint8Array, document: object) =>
  expect(shownOf(bytes)).toEqual(shownOf(serialize(document)));

test('an untouched document is given back, the very bytes', () => {
  const old = serialize(order);
  expect(put(orders, { sourceId: sourceIdOf(old), old, wanted: content(orders, old), settings }).bytes).toBe(old);
});

describe('columns', () => {
  test.each<[string, AnyRow, object]>([
    ['a text', { status: 'packed' }, { status: 'packed' }],
    ['an amount in the spelling it has', { total: '16.50' }, { total: '16.5 €' }],
    ['a field of a field', { ship_city: 'Bonn' }, { shipping_address: { floor: new Int32(3), city: 'Bonn' } }],
    [
      'a new field of a field',
      { ship_country: 'DE' },
      { shipping_address: { floor: new Int32(3), city: 'Berlin', country: 'DE' } },
    ],
    ['a time', { placed_at: 1_700_000_001_000_000 }, { placed_at: new Date(1_700_000_001_000) }],
    [
      'another owner, under the name the field has',
      { customer_id: new Parent('customers', 7n, { source_id: '64b0000000000000000000bb' }) },
      { userId: new ObjectId('64b0000000000000000000bb') },
    ],
    [
      'the residual',
      { metadata: { note: { x: 2, y: ['z', 'w'] }, shipping_address: { floor: 4 } } },
      { note: { x: new Int32(2), y: ['z', 'w'] }, shipping_address: { floor: new Int32(4), city: 'Berlin' } },
    ],
  ])('%s', (_, change, expected) => {
    const result = changed(orders, order, 'orders', (row) => ({ ...row, ...change }));
    expect(result.unrepresentable).toEqual([]);
    expectShown(result.bytes, { ...order, ...expected });
  });

  test('what no document says is told, and the rest is written', () => {
    const result = changed(orders, order, 'orders', (row) => ({
      ...row,
      status: 'lost',
      number: 'B',
      placed_at: 1_700_000_000_000_400,
    }));
    expect(result.unrepresentable).toEqual(['orders.status', 'orders.placed_at']);
    expect(result.refused).toBeUndefined();
    expectShown(result.bytes, { ...order, number: 'B' });
  });
});

describe('lists', () => {
  const lines = (change: (rows: readonly AnyRow[]) => readonly AnyRow[]) =>
    changed(orders, order, 'orders', (row) => ({
      ...row,
      items: change(items(row)).map((one, i) => ({ ...one, position: i })),
    }));
  const added = {
    sku: 'd',
    qty: 2,
    price: '2.50',
    title: null,
    discounts: [{ coupon: null, amount: '1', position: 0 }],
    metadata: null,
  };
  const made = { sku: 'd', qty: new Int32(2), price: new Double(2.5), discounts: [{ amount: new Double(1) }] };
  test.each<[string, (rows: readonly AnyRow[]) => readonly AnyRow[], object[]]>([
    ['a line is added', (rows) => [...rows, added], [line('a'), line('b'), line('c'), made]],
    ['a line is added in front', (rows) => [added, ...rows], [made, line('a'), line('b'), line('c')]],
    ['a line is taken out', ([a, , c]) => [a!, c!], [line('a'), line('c')]],
    [
      'lines change places, each with the fields that have no column',
      ([a, b, c]) => [c!, a!, b!],
      [line('c'), line('a'), line('b')],
    ],
    [
      'a line changes in part',
      ([a, b, c]) => [a!, { ...b, qty: 9 }, c!],
      [line('a'), line('b', { qty: new Int32(9) }), line('c')],
    ],
    [
      'a discount changes',
      ([a, b, c]) => [a!, b!, { ...c, discounts: [{ coupon: 'c', amount: '2', position: 0 }] }],
      [line('a'), line('b'), line('c', { discounts: [{ coupon: 'c', amount: new Double(2) }] })],
    ],
    ['no line is left', () => [], []],
  ])('%s', (_, change, expected) => {
    const result = lines(change);
    expect(result.unrepresentable).toEqual([]);
    expectShown(result.bytes, { ...order, items: expected });
  });

  test('a list that was null gets its first entry', () => {
    const result = changed(orders, order, 'orders', (row) => ({
      ...row,
      history: [{ status: 'paid', at: 1_700_000_000_000_000, by: null, metadata: null }],
    }));
    expect(result.unrepresentable).toEqual([]);
    expectShown(result.bytes, { ...order, status_history: [{ status: 'paid', at: new Date(1_700_000_000_000) }] });
  });

  test('entries with a key are known by it, whatever the order of the rows', () => {
    const user = {
      _id: 1,
      email: 'a@b.c',
      passwordHash: 'h',
      addresses: [
        { label: 'home', city: 'Bonn', pets: 2 },
        { label: 'work', city: 'Köln' },
      ],
    };
    const result = changed(users, user, 'customers', (row) => {
      const [home, work] = row['addresses'] as AnyRow[];
      return {
        ...row,
        addresses: [
          { ...work!, city: 'Ulm' },
          { ...home!, street: 'Am Markt' },
        ],
      };
    });
    expect(result.unrepresentable).toEqual([]);
    expectShown(result.bytes, {
      ...user,
      addresses: [
        { label: 'work', city: 'Ulm' },
        { label: 'home', city: 'Bonn', pets: 2, street: 'Am Markt' },
      ],
    });
  });
});

describe('documents born in the new system', () => {
  const born = (declaration: Declaration, table: string, row: AnyRow, sourceId = 'new-1') =>
    put(declaration, { sourceId, old: undefined, wanted: { rows: { [table]: row }, documents: {} }, settings });

  test('are called what the mapping says: text, or parts', () => {
    expectShown(
      born(coupons, 'coupons', { code: 'SUMMER', percent: 5, valid_until: '2026-08-01', metadata: { shop: 'x' } })
        .bytes,
      { _id: 'SUMMER', percent: new Int32(5), valid_until: '2026-08-01', shop: 'x' },
    );
    expectShown(born(audit, 'audit_days', { of: '2026-01-02', who: 'u', actions: 3n, metadata: null }).bytes, {
      _id: { day: '2026-01-02', user: 'u' },
      actions: new Int32(3),
    });
  });

  test('say all of themselves, in the forms that the application writes', () => {
    const row = {
      email: 'a@b.c',
      password_hash: 'h',
      marketing_consent: true,
      loyalty_points: 5_000_000_000n,
      roles: ['x'],
      external_id: '01010101-0101-0101-0101-010101010101',
      last_name: 'L',
      addresses: [{ label: 'home', city: 'Bonn' }],
    };
    const { bytes, unrepresentable } = born(users, 'customers', row, '64b000000000000000000009');
    expect(unrepresentable).toEqual([]);
    expectShown(bytes, {
      _id: new ObjectId('64b000000000000000000009'),
      email: 'a@b.c',
      name: { last: 'L' },
      passwordHash: 'h',
      marketing_consent: true,
      roles: ['x'],
      external_id: new Binary(Buffer.alloc(16, 1), 4),
      loyaltyPoints: 5_000_000_000n,
      addresses: [{ label: 'home', city: 'Bonn' }],
    });
  });

  test('what the copy would set aside is not written', () => {
    expect(born(coupons, 'coupons', { code: 'X', percent: null, metadata: null }).refused).toEqual({
      rule: 'percent_valid',
      path: 'percent',
    });
  });
});
