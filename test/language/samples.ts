// The shop's mappings by the names that the tests of the language call them.
import type { Declaration } from '../../mappings/language/declare.ts';
import { tablesOf } from '../../mappings/language/forward.ts';
import { application } from '../../mappings/shop/index.ts';

export { default as orders, orderTable } from '../../mappings/shop/orders.ts';
export { default as users, customers as userTable } from '../../mappings/shop/users.ts';
export { audit, categories, coupons } from '../../mappings/shop/small.ts';

export const shop: readonly Declaration[] = application;
/** Those whose documents become rows: the others are code of their own. */
export const tabled: readonly Declaration[] = application.filter((one) => tablesOf(one).length > 0);
