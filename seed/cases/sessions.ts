// The dirt of sessions and user_sessions (cases 59-61 and what every collection has).
import { Double, Int32, Long, ObjectId } from 'bson';
import { sourceId } from '../../core/identity.ts';
import type { Dirt, DirtyCase } from '../shape.ts';
import { naiveLocal, START } from '../time.ts';
import { change, column, loaded, marker, quarantined, remove, rename, sample, set } from './catalogue.ts';
import { FAKE_ADMIN } from './identities.ts';

const DAY = 86_400_000;
const LIVE = Date.UTC(2035, 5, 1);

/** The session_id of a clean document that is newer in every respect. */
const olderTwin: Dirt = (document, place) => {
  const other = place.anchor();
  Object.assign(document, {
    session_id: other['session_id'],
    created_at: new Date(START - 30 * DAY),
    last_activity: new Date(START - 30 * DAY),
    expires_at: new Date(START - 29 * DAY),
  });
  return { field: 'clashes_with', value: sourceId(other._id) };
};

const expires =
  (value: () => unknown, redis: boolean): Dirt =>
  (document) => {
    document['expires_at'] = value();
    return { redis };
  };

const shared: readonly DirtyCase[] = [
  quarantined(5, 'created_at garbage', 'timestamps_valid', set('created_at', 'bad')),
  quarantined(5, 'expires_at garbage', 'timestamps_valid', set('expires_at', '永不')),
  loaded(
    23,
    'camelCase',
    rename({ sessionId: 'session_id', userId: 'user_id', createdAt: 'created_at', expiresAt: 'expires_at' }),
  ),
  quarantined(23, 'twins that differ', 'aliases_agree', set('sessionId', 'another-session')),
  loaded(29, 'admin', set('user_id', 'admin', { column: 'user_id', path: ['users.username'], value: 'admin' })),
  loaded(
    29,
    'fake administrator',
    set('user_id', new ObjectId(FAKE_ADMIN), { column: 'user_id', path: ['users.username'], value: 'admin' }),
  ),
  loaded(29, 'unknown', set('user_id', 'unknown', column('user_id', null))),
  loaded(
    30,
    'deleted user',
    change('user_id', (_, { random }) => `dead${random.hex(20)}`, column('user_id', null)),
  ),
  loaded(45, 'NUL in the user agent', set('user_agent', 'Mozilla\u0000/5.0')),
  loaded(46, 'NaN in data', set('data', { cache: { v: new Double(NaN) } })),
  loaded(
    59,
    'expired',
    expires(() => new Date(START), false),
  ),
  loaded(
    59,
    'expiry epoch seconds with a fraction, live',
    expires(() => new Double(LIVE / 1000 + 0.25), true),
  ),
  loaded(
    59,
    'expiry epoch milliseconds, live',
    expires(() => Long.fromNumber(LIVE), true),
  ),
  loaded(
    59,
    'expiry epoch milliseconds, past',
    expires(() => new Double(START), false),
  ),
  loaded(
    59,
    'expiry text, live',
    expires(() => '2035-06-01T09:00:00', true),
  ),
  loaded(
    59,
    'expiry before creation',
    expires(() => new Date(START - DAY), false),
  ),
  loaded(59, 'no expiry', remove('expires_at')),
  loaded(
    59,
    'created_at text',
    change('created_at', (_, { moment }) => naiveLocal(moment)),
  ),
  loaded(60, 'user_id missing', remove('user_id', column('user_id', null))),
  loaded(60, 'user_id empty', set('user_id', '', column('user_id', null))),
  loaded(60, 'fingerprint of someone else', (document, place) => {
    delete document['user_id'];
    document['fingerprint'] = `fallback_${String(place.anchor()['session_id']).slice(-8)}`;
    return column('user_id', null);
  }),
  quarantined(61, 'same session_id as a newer one', 'session_id_unique', olderTwin),
  quarantined(61, 'missing', 'session_id_not_null', remove('session_id')),
  quarantined(61, 'null', 'session_id_not_null', set('session_id', null)),
  quarantined(61, 'empty', 'session_id_not_null', set('session_id', '')),
  loaded(70, 'keys with dots', set('data', { 'gpt-4.1': { on: true }, $where: 'nowhere' })),
  loaded(74, 'flag blanked', set('is_active', '')),
];

export const sessionCases: readonly DirtyCase[] = [
  ...shared,
  loaded(59, 'epoch floats of the file store', (document, { moment }) => {
    document['timestamp'] = new Double(moment.time / 1000);
    document['last_update'] = new Double(moment.time / 1000 + 5.5);
    delete document['last_activity'];
  }),
  loaded(58, 'progress float, step number', set('data', { progress: new Double(45.5), current_step: new Int32(3) })),
  marker('User sessions and authentication'),
  sample('session_id', 'sample_session_structure', { user_id: null, session_data: {}, expires_at: null }),
];

export const userSessionCases: readonly DirtyCase[] = [...shared, marker('User sessions')];
