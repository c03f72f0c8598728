// Mappings of a small shop, as an application would write them: orders with lines and discounts, users with addresses, categories as a tree, coupons.
import { mapping, table } from '../../mappings/language/declare.ts';
import {
  array,
  bigint,
  bool,
  bytes,
  day,
  decimal,
  double,
  group,
  id,
  instant,
  int,
  json,
  ref,
  residual,
  rows,
  text,
  uuid,
} from '../../mappings/language/words.ts';

const berlin = { zone: 'Europe/Berlin' };
const states = ['placed', 'paid', 'packed', 'shipped', 'delivered', 'cancelled'] as const;
const money = () => decimal(14, 2).required('amount_valid');
const status = () => text().required('status_known').oneOf(states, 'status_known');
const cents = (amount: string) => BigInt(Math.round(Number(amount) * 100));

export const orderTable = table(
  'orders',
  {
    number: text()
      .required()
      .unique({ rank: ['placed_at'] }),
    customer_id: ref('users', { table: 'customers' }).from('user_id', 'userId'),
    status: status().index().public(),
    total: money(),
    currency: text().required().public(),
    placed_at: instant(berlin).required('placed_at_valid'),
    paid: bool().required(),
    ...group('shipping_address', {
      ship_street: text().from('street'),
      ship_city: text().from('city'),
      ship_country: text().from('country'),
    }),
    items: rows('items', {
      table: 'order_items',
      columns: {
        sku: text().required(),
        qty: int().required('qty_valid').atLeast(1, 'qty_positive'),
        price: money(),
        title: text(),
        discounts: rows('discounts', {
          table: 'order_item_discounts',
          columns: { coupon: text(), amount: money() },
        }),
        metadata: residual(),
      },
    }),
    history: rows('status_history', {
      table: 'order_status_history',
      columns: { status: status(), at: instant(berlin).required(), by: text(), metadata: residual() },
    }),
    metadata: residual(),
  },
  {
    indexes: [['customer_id', 'placed_at desc']],
    rules: [
      {
        name: 'total_adds_up',
        or: 'warn',
        holds: (row) =>
          row.items.reduce((sum, item) => sum + cents(item.price) * BigInt(item.qty), 0n) === cents(row.total),
      },
    ],
    invariants: [{ name: 'orders_per_status', by: ['status', 'currency'], sums: ['total'] }],
  },
);
export const orders = mapping('orders', { class: 'active', to: orderTable });

export const userTable = table('customers', {
  email: text()
    .required('email_valid')
    .check('email_valid', (email) => email.includes('@'), "$ like '%@%'")
    .unique({ by: 'caseless', rank: ['marketing_consent', 'created_at'] }),
  first_name: text().from('name.first'),
  last_name: text().from('name.last'),
  password_hash: text().from('passwordHash').required().secret(),
  marketing_consent: bool().orElse(false),
  roles: array(text()),
  created_at: instant({ ...berlin, gap: 'quarantine' })
    .from('createdAt', 'created_at')
    .strict(),
  birthday: day(),
  external_id: uuid(),
  loyalty_points: bigint().from('loyaltyPoints').orElse(0n),
  rating: double(),
  avatar: bytes(),
  settings: json(),
  addresses: rows('addresses', {
    table: 'customer_addresses',
    single: 'accept',
    key: ['label'],
    columns: {
      label: text().required(),
      street: text(),
      city: text(),
      is_default: bool(),
      metadata: residual(),
    },
  }),
  metadata: residual(),
});
export const users = mapping('users', { class: 'static', aliases: ['customers_old'], to: userTable });

export const categories = mapping('categories', {
  class: 'static',
  to: table('categories', {
    slug: text().required().unique(),
    parent_id: ref('categories').from('parent'),
    title: text().required(),
    metadata: residual(),
  }),
});

export const coupons = mapping('coupons', {
  class: 'static',
  to: table('coupons', { code: id(), percent: int().required(), valid_until: day(), metadata: residual() }),
});

export const audit = mapping('audit', {
  class: 'historical',
  to: table('audit_days', {
    of: id('day', day()),
    who: id('user'),
    actions: bigint().orElse(0n),
    metadata: residual(),
  }),
});

export const shop = [orders, users, categories, coupons, audit];
