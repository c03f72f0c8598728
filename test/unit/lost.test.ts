// How the document that has a unique value is named to people: so that it is found, and so that its name opens nothing.
import { expect, test } from 'vitest';
import { lostMessage, shownId } from '../../activities/lost.ts';
import { loadMappings } from '../../mappings/registry.ts';

const mappings = await loadMappings();
const of = (name: string) => mappings.get(name)!;

test('an ObjectId as it is; of an `_id` that may open something only a digest', () => {
  expect(shownId(of('subscription_users'), '65f1a2b3c4d5e6f708192a3b')).toBe('_id 65f1a2b3c4d5e6f708192a3b');
  expect(shownId(of('subscription_users'), '"alice"')).toBe('_id "alice"');
  expect(shownId(of('subscription_users'), '"sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"')).toMatch(
    /SHA-256 [0-9a-f]{16}…$/,
  );
  expect(shownId(of('sessions'), '"3b9f"')).toMatch(/^whose _id has the SHA-256 [0-9a-f]{16}…$/);
  expect(shownId(of('subscription_users'), `"${'x'.repeat(3000)}"`).length).toBeLessThan(70);
});

test('the message names the winner and its collection, where they are known, and no value', () => {
  const winner = { id: '65f1a2b3c4d5e6f708192a3b', source: 'user_sessions' };
  expect(lostMessage(of('sessions'), 'session_id', winner)).toBe(
    'another document of user_sessions, _id 65f1a2b3c4d5e6f708192a3b, has the same session_id and is kept',
  );
  expect(lostMessage(of('sessions'), 'session_id', undefined)).toBe(
    'another document of the collection has the same session_id and is kept',
  );
});
