// A small shop: the second application, by which the language and the engine show that they know none in particular.
import type { Declaration } from '../language/declare.ts';
import orders from './orders.ts';
import products from './products.ts';
import { audit, carts, categories, coupons, inventory, reviews, sessions } from './small.ts';
import users from './users.ts';

export const application: readonly Declaration[] = [
  users,
  products,
  categories,
  orders,
  carts,
  reviews,
  inventory,
  sessions,
  coupons,
  audit,
];
