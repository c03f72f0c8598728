// The shop's smaller collections: categories as a tree, coupons called by their text, audit by the parts of `_id`, carts, sessions, reviews, inventory.
import { Int32, type Double } from 'bson';
import { collection, hypertable, keys, mapping, table } from '../language/declare.ts';
import { bigint, day, id, instant, int, json, ref, residual, text } from '../language/words.ts';
import { moment } from './words.ts';

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

/** In Redis until it is ordered; PostgreSQL keeps it, too. */
const cartTable = table('carts', { owner: text().required().unique(), lines: json(), metadata: residual() });
export const carts = mapping('carts', {
  class: 'active',
  to: [
    cartTable,
    keys('cart_keys', cartTable, {
      prefix: 'cart:',
      key: (row) => ({ key: row.owner, value: { lines: row.lines, ...row.metadata }, expiresAt: null, rank: '' }),
    }),
  ],
});

const sessionTable = table('sessions', {
  token: text()
    .required()
    .unique({ rank: ['expires_at'] })
    .secret(),
  customer_id: ref('users', { table: 'customers' }).from('user_id'),
  expires_at: moment().required(),
  metadata: residual(),
});
export const sessions = mapping('sessions', {
  class: 'active',
  to: [
    sessionTable,
    keys('session_keys', sessionTable, {
      prefix: 'session:',
      key: (row) => ({
        key: row.token,
        value: { ...row.metadata },
        expiresAt: Math.floor(row.expires_at / 1000),
        rank: String(row.expires_at),
      }),
    }),
  ],
});

export const inventory = mapping('inventory_events', {
  class: 'historical',
  to: hypertable(
    'inventory_events',
    {
      at: instant().required(),
      sku: text().required(),
      change: int().required(),
      reason: text().public(),
      metadata: residual(),
    },
    {
      time: 'at',
      indexes: [['sku', 'at desc']],
      lifecycle: { compressAfter: '30 days', retainFor: '5 years', segmentBy: 'sku' },
    },
  ),
});

export const reviews = mapping('reviews', {
  class: 'historical',
  to: collection('reviews_optimized', {
    schema: { bsonType: 'object', required: ['_id', 'stars'] },
    indexes: [{ stars: -1 }],
    get: (document) => ({
      ...document,
      stars: new Int32(Math.round(Number(String(document['stars'] as Double)) || 0)),
    }),
  }),
});
