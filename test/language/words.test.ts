// The words: what a document becomes, value by value, and that the compiler knows the row.
import { Binary, Decimal128, Double, Int32, Long, ObjectId, serialize } from 'bson';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { forward } from '../../mappings/language/forward.ts';
import type { Row } from '../../mappings/language/words.ts';
import { Reference } from '../../stores/postgres/target.ts';
import { audit, coupons, orders, users, type orderTable, type userTable } from './samples.ts';

const settings = { asOf: Date.UTC(2026, 10, 1) };
const id = new ObjectId('64b000000000000000000001');
const owner = new ObjectId('64b0000000000000000000aa');
const order = {
  _id: id,
  number: 'A-1',
  user_id: owner,
  status: 'paid',
  total: new Double(20.5),
  currency: 'EUR',
  placed_at: new Date(1_700_000_000_000),
  paid: true,
  shipping_address: { street: 'Hauptstr. 1', city: 'Berlin', country: 'DE', floor: new Int32(3) },
  items: [
    {
      sku: 'x',
      qty: new Int32(2),
      price: new Double(10.25),
      discounts: [{ coupon: 'c', amount: new Double(1) }],
      gift: true,
    },
    { sku: 'y', qty: new Int32(1), price: new Double(0), discounts: [] },
  ],
  status_history: [],
};
const loaded = (declaration: typeof orders, document: object) => {
  const result = forward(declaration, serialize(document), settings);
  if (result.state !== 'loaded') throw new Error(JSON.stringify(result));
  return result;
};
const verdict = (declaration: typeof orders, document: object) => {
  const result = forward(declaration, serialize(document), settings);
  return result.state === 'quarantined' ? [result.rule, result.path] : result.state;
};

test('the compiler knows the row: unions, null, depth', () => {
  type Order = Row<typeof orderTable.columns>;
  expectTypeOf<Order['status']>().toEqualTypeOf<'placed' | 'paid' | 'packed' | 'shipped' | 'delivered' | 'cancelled'>();
  expectTypeOf<Order['number']>().toEqualTypeOf<string>();
  expectTypeOf<Order['ship_city']>().toEqualTypeOf<string | null>();
  expectTypeOf<Order['items'][number]['discounts'][number]['amount']>().toEqualTypeOf<string>();
  expectTypeOf<Row<typeof userTable.columns>['loyalty_points']>().toEqualTypeOf<bigint>();
  expectTypeOf<Row<typeof userTable.columns>['roles']>().toEqualTypeOf<readonly string[] | null>();
});

test('an order with lines and their discounts', () => {
  const { content, outcome, warnings } = loaded(orders, order);
  expect(warnings).toEqual([]);
  expect(content.rows['orders']).toEqual({
    number: 'A-1',
    customer_id: new Reference('customers', [['source_id', owner.toHexString()]]),
    coupon_id: null,
    status: 'paid',
    total: '20.5',
    currency: 'EUR',
    placed_at: 1_700_000_000_000_000,
    paid: true,
    ship_street: 'Hauptstr. 1',
    ship_city: 'Berlin',
    ship_country: 'DE',
    items: [
      {
        product_id: null,
        sku: 'x',
        qty: 2,
        price: '10.25',
        title: null,
        discounts: [{ coupon: 'c', amount: '1', position: 0 }],
        metadata: { gift: true },
        position: 0,
      },
      {
        product_id: null,
        sku: 'y',
        qty: 1,
        price: '0',
        title: null,
        discounts: [],
        metadata: { _causeway: { original: { discounts: [] } } },
        position: 1,
      },
    ],
    history: [],
    metadata: {
      shipping_address: { floor: 3 },
      _causeway: { original: { user_id: { $oid: owner.toHexString() }, status_history: [] } },
    },
  });
  expect(Object.keys(outcome)).toEqual(['orders', 'order_items', 'order_item_discounts', 'order_search']);
});

describe('verdicts', () => {
  test.each([
    ['a status nobody knows', { status: 'lost' }, ['status_known', 'status']],
    ['no number', { number: undefined }, ['number_valid', 'number']],
    ['a price that is none', { items: [{ ...order.items[0], price: 'much' }] }, ['amount_valid', 'items.0.price']],
    [
      'a quantity below the least',
      { items: [{ ...order.items[0], qty: new Int32(0) }] },
      ['qty_positive', 'items.0.qty'],
    ],
    ['a line that is none', { items: [1] }, ['items_is_list', 'items.0']],
    ['lines that are no list', { items: 'x' }, ['items_is_list', 'items']],
    ['two spellings that disagree', { userId: 'x' }, ['aliases_agree', 'userId']],
  ])('%s', (_, changes, expected) => {
    expect(verdict(orders, { ...order, ...changes })).toEqual(expected);
  });

  test('a rule that only warns', () => {
    expect(loaded(orders, { ...order, total: new Double(1) }).warnings).toEqual(['total_adds_up']);
  });
});

test('a user: nested names, every codec, one address where a list is meant', () => {
  const user = {
    _id: id,
    email: 'A@example.com',
    name: { first: 'Ada', middle: 'B' },
    passwordHash: 'h',
    roles: ['a', 'b'],
    createdAt: '2026-03-29 02:30:00',
    birthday: '1990-02-28',
    external_id: new Binary(Buffer.alloc(16, 1), 4),
    loyaltyPoints: Long.fromNumber(5e9),
    rating: new Double(4.5),
    avatar: new Binary(Buffer.from('x')),
    settings: { theme: 'dark', n: Decimal128.fromString('1.10') },
    addresses: { label: 'home', city: 'Bonn' },
  };
  expect(verdict(users, user)).toEqual(['created_at_valid', 'createdAt']);
  const { content, warnings } = loaded(users, { ...user, createdAt: '2026-10-25 02:30:00' });
  expect(warnings).toEqual(['createdAt_zone_assumed', 'addresses_was_single']);
  expect(content.rows['customers']).toMatchObject({
    email: 'A@example.com',
    email_key: 'a@example.com',
    first_name: 'Ada',
    last_name: null,
    marketing_consent: false,
    roles: ['a', 'b'],
    created_at: Date.UTC(2026, 9, 25, 1, 30) * 1000,
    birthday: '1990-02-28',
    external_id: '01010101-0101-0101-0101-010101010101',
    loyalty_points: 5_000_000_000n,
    rating: 4.5,
    settings: { theme: 'dark', n: { $numberDecimal: '1.10' } },
    addresses: [{ label: 'home', city: 'Bonn' }],
    metadata: { name: { middle: 'B' } },
  });
});

test('_id as text, and its parts', () => {
  expect(loaded(coupons, { _id: 'SUMMER', percent: new Int32(5) }).content.rows['coupons']).toMatchObject({
    code: 'SUMMER',
  });
  const { content } = loaded(audit, { _id: { day: '2026-01-02', user: 'u1' }, actions: new Int32(3) });
  expect(content.rows['audit_days']).toEqual({ of: '2026-01-02', who: 'u1', actions: 3n, metadata: null });
});
