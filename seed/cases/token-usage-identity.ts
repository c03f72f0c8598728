// Who a token_usage document belongs to, and what its `_id` is (cases 28-31).
import { Int32, Long, ObjectId } from 'bson';
import type { Dirt, DirtyCase } from '../shape.ts';
import { change, column, loaded, rename, set } from './catalogue.ts';
import { FAKE_ADMIN, hexOfNeighbour } from './identities.ts';

const nobody: Dirt = set('user_id', null, column('user_id', null));

export const identityCases: readonly DirtyCase[] = [
  loaded(28, 'user_id null', nobody),
  loaded(29, 'admin', set('user_id', 'admin', { column: 'user_id', path: ['users.username'], value: 'admin' })),
  loaded(
    29,
    'fake administrator',
    set('user_id', FAKE_ADMIN, { column: 'user_id', path: ['users.username'], value: 'admin' }),
  ),
  loaded(29, 'unknown', set('user_id', 'unknown', column('user_id', null))),
  loaded(29, 'empty', set('user_id', '', column('user_id', null))),
  loaded(29, 'userId of a user', (document, place) => {
    document['user_id'] = place.world.userHex(place.random);
    return rename({ userId: 'user_id' })(document, place);
  }),
  loaded(
    30,
    'deleted user, text',
    change('user_id', (_, { random }) => `dead${random.hex(20)}`, column('user_id', null)),
  ),
  loaded(
    30,
    'random ObjectId',
    change('user_id', (_, { random }) => new ObjectId(`dead${random.hex(20)}`), column('user_id', null)),
  ),
  loaded(
    31,
    'string _id',
    change('_id', (_, { index, id }) => `usage:${index}:${id.toHexString().slice(0, 8)}`),
  ),
  loaded(31, 'hex of a neighbour as string _id', hexOfNeighbour),
  loaded(
    31,
    'int32 _id',
    change('_id', (_, { index }) => new Int32(index)),
  ),
  loaded(
    31,
    'int64 _id',
    change('_id', (_, { index }) => Long.fromNumber(5_000_000_000 + index)),
  ),
  loaded(
    31,
    'document _id',
    change('_id', (_, { index }) => ({ source: 'import', line: index })),
  ),
];
