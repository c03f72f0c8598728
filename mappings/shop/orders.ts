// orders -> PostgreSQL orders with lines, the lines' discounts and the history; and a document for the search in the target MongoDB.
import { Double } from 'bson';
import { collection, mapping, table } from '../language/declare.ts';
import { bool, group, int, ref, residual, rows, text } from '../language/words.ts';
import { cents, moment, money } from './words.ts';

const states = ['placed', 'paid', 'packed', 'shipped', 'delivered', 'cancelled'] as const;
const status = () => text().required('status_known').oneOf(states, 'status_known');

export const orderTable = table(
  'orders',
  {
    number: text()
      .required()
      .unique({ rank: ['placed_at'] }),
    customer_id: ref('users', { table: 'customers' }).from('user_id', 'userId'),
    coupon_id: ref('coupons').from('coupon'),
    status: status().index().public(),
    total: money(),
    currency: text().required().public(),
    placed_at: moment().required('placed_at_valid'),
    paid: bool().required(),
    ...group('shipping_address', {
      ship_street: text().from('street'),
      ship_city: text().from('city'),
      ship_country: text().from('country'),
    }),
    items: rows('items', {
      table: 'order_items',
      columns: {
        product_id: ref('products').from('product').index(),
        sku: text().required(),
        qty: int().required('qty_valid').atLeast(1, 'qty_positive'),
        price: money(),
        title: text(),
        discounts: rows('discounts', { table: 'order_item_discounts', columns: { coupon: text(), amount: money() } }),
        metadata: residual(),
      },
    }),
    history: rows('status_history', {
      table: 'order_status_history',
      columns: { status: status(), at: moment().required(), by: text(), metadata: residual() },
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
          row.items.reduce((sum, one) => sum + cents(one.price) * BigInt(one.qty), 0n) === cents(row.total),
      },
    ],
    invariants: [{ name: 'orders_per_status', by: ['status', 'currency'], sums: ['total'] }],
  },
);

const search = collection('order_search', {
  schema: { bsonType: 'object', required: ['_id', 'number', 'skus'] },
  indexes: [{ skus: 1 }, { number: 1 }],
  get: (document, _, row) => ({
    _id: document['_id'],
    number: row['number'],
    total: new Double(Number(row['total'])),
    skus: (row['items'] as readonly { sku: string }[]).map(({ sku }) => sku),
  }),
});

export default mapping('orders', { class: 'active', to: [orderTable, search] });
