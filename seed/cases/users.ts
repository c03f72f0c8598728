// The dirt of users and subscription_users (cases 31-41 and what every collection has).
import { Double, Int32 } from 'bson';
import type { DirtyCase, Document } from '../shape.ts';
import { naiveUtc } from '../time.ts';
import { favourite } from '../collections/favourite.ts';
import { change, column, loaded, marker, quarantined, remove, rename, set } from './catalogue.ts';
import { hexOfNeighbour } from './identities.ts';
import { duplicateUserCases } from './users-duplicates.ts';

const config = (type: string, path: readonly string[], value: unknown) => ({
  table: 'user_configs',
  column: 'config_data',
  field: type,
  path,
  value,
});

/** Keeps the made-up ids of the two collections apart: they end in one table. */
const scope = (document: Document): number => ('hashed_password' in document ? 1_000_000 : 0);

const shared: readonly DirtyCase[] = [
  ...duplicateUserCases,
  loaded(31, 'hex of a neighbour as string _id', hexOfNeighbour),
  loaded(
    31,
    'int32 _id',
    change('_id', (document, { index }) => new Int32(index + scope(document))),
  ),
  loaded(
    31,
    'document _id',
    change('_id', (document, { index }) => ({ tenant: 'default', number: index + scope(document) })),
  ),
  quarantined(35, 'username missing', 'username_not_null', remove('username')),
  quarantined(35, 'username null', 'username_not_null', set('username', null)),
  quarantined(35, 'username blank', 'username_not_null', set('username', '')),
  quarantined(35, 'email missing', 'email_valid', remove('email')),
  quarantined(35, 'email null', 'email_valid', set('email', null)),
  quarantined(35, 'email empty', 'email_valid', set('email', '')),
  quarantined(35, 'email invalid', 'email_valid', set('email', 'no-name@')),
  loaded(38, 'text', set('is_active', 'true', column('is_active', true))),
  loaded(38, 'text False', set('is_active', 'False', column('is_active', false))),
  loaded(38, 'number', set('is_active', new Int32(1), column('is_active', true))),
  loaded(38, 'null', set('is_active', null)),
  loaded(38, 'missing', remove('is_active', column('is_active', true))),
  loaded(39, 'missing', remove('preferences')),
  loaded(39, 'JSON text', set('preferences', '{"ui_theme": "dark"}', config('preferences', ['ui_theme'], 'dark'))),
  loaded(39, 'JSON text of null', set('preferences', 'null')),
  loaded(39, 'depth as a digit', set('preferences', { default_depth: '3' })),
  loaded(39, 'depth as a word', set('preferences', { default_depth: '深度' })),
  quarantined(74, 'created_at garbage', 'created_at_valid', set('created_at', '很久以前')),
  loaded(
    4,
    'created_at epoch seconds with a fraction',
    set('created_at', new Double(1_754_877_600.25), column('created_at', '2025-08-11T02:00:00.250000Z')),
  ),
  loaded(
    74,
    'created_at with zone',
    set('created_at', '2025-08-11T10:30:00+08:00', column('created_at', '2025-08-11T02:30:00.000000Z')),
  ),
  loaded(
    74,
    'created_at naive UTC text',
    change('created_at', (_, { moment }) => naiveUtc(moment)),
  ),
  loaded(45, 'NUL in a note', set('notes', 'bad\u0000byte')),
  loaded(
    46,
    'NaN in preferences',
    set('preferences', { score: new Double(NaN), ui_theme: 'dark' }, config('preferences', ['score'], null)),
  ),
  loaded(
    70,
    'keys with dots',
    set('preferences', { 'gpt-4.1': { on: true }, $model: 'x' }, config('preferences', ['gpt-4.1', 'on'], true)),
  ),
];

export const userCases: readonly DirtyCase[] = [
  ...shared,
  loaded(
    31,
    'hex of nothing as string _id',
    change('_id', (_, { id }) => id.toHexString()),
  ),
  loaded(36, 'no password', remove('hashed_password')),
  quarantined(37, 'plain text', 'password_not_plaintext', set('hashed_password', 'hunter2')),
  loaded(
    37,
    'bcrypt',
    change('hashed_password', (_, { random }) => `$2b$12$${random.hex(53)}`),
  ),
  loaded(41, 'same favourite twice', (document, { random, moment }) => {
    const one = favourite(random, moment.time);
    document['favorite_stocks'] = [one, { ...one, notes: '再次加入' }];
  }),
  loaded(74, 'flag blanked', set('is_verified', '')),
  marker('User accounts and profiles'),
];

export const subscriptionUserCases: readonly DirtyCase[] = [
  ...shared,
  loaded(23, 'camelCase', rename({ fullName: 'full_name', createdAt: 'created_at', isActive: 'is_active' })),
  quarantined(23, 'twins that differ', 'aliases_agree', set('fullName', 'Somebody Else')),
  loaded(40, 'objects', (document) => {
    document['watchlist'] = [{ symbol: '000001', market: 'A股', added_at: '2025-08-11 10:31:00' }];
    return config('watchlist', ['0', 'symbol'], '000001');
  }),
  loaded(40, 'text with commas', set('watchlist', '600519,000858', config('watchlist', ['1', 'symbol'], '000858'))),
  loaded(40, 'by symbol', set('watchlist', { '600519': { added_at: '2025-08-11' }, 'BRK.B': {} })),
  loaded(40, 'empty document', set('watchlist', {})),
  loaded(40, 'alert settings null', set('alert_settings', null)),
  loaded(
    27,
    'username of 60 characters',
    change('username', (_, { index }) => `${'x'.repeat(52)}${String(index).padStart(8, '0')}`),
  ),
  marker('Subscribers'),
];
