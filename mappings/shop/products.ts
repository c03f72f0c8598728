// products -> PostgreSQL products and their variants, prices as they were written: Decimal128.
import { mapping, table } from '../language/declare.ts';
import { array, bool, int, ref, residual, rows, text } from '../language/words.ts';
import { money } from './words.ts';

export default mapping('products', {
  class: 'static',
  to: table('products', {
    name: text().required(),
    category_id: ref('categories').from('category'),
    tags: array(text()),
    active: bool().orElse(true).public(),
    variants: rows('variants', {
      table: 'product_variants',
      key: ['sku'],
      columns: { sku: text().required(), price: money(), stock: int().orElse(0), metadata: residual() },
    }),
    metadata: residual(),
  }),
});
