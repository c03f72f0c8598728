// users -> PostgreSQL customers, their addresses in a table of their own.
import { mapping, table } from '../language/declare.ts';
import { array, bigint, bool, bytes, day, double, json, residual, rows, text, uuid } from '../language/words.ts';
import { moment } from './words.ts';

export const customers = table('customers', {
  email: text()
    .required('email_valid')
    .check('email_valid', (email) => email.includes('@'), "$ like '%@%'")
    .unique({ by: 'caseless', rank: ['marketing_consent', 'created_at'] }),
  first_name: text().from('name.first'),
  last_name: text().from('name.last'),
  password_hash: text().from('passwordHash').required().secret(),
  marketing_consent: bool().orElse(false),
  roles: array(text()),
  created_at: moment().from('createdAt', 'created_at').strict(),
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
    columns: { label: text().required(), street: text(), city: text(), is_default: bool(), metadata: residual() },
  }),
  metadata: residual(),
});

export default mapping('users', { class: 'static', aliases: ['customers_old'], to: customers });
