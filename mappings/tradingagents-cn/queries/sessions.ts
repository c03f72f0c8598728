// What the application asks of its sessions.
import type { Outcome } from '../../mapping.ts';
import { find, get, sql, type ApplicationQuery } from '../../query.ts';

const sessionOf = (outcome: Outcome) => outcome['sessions']![0] as { session_id: string };

/** Whom a document names as its owner, as text; null where it names nobody. */
export function ownerText(its: unknown): string | null {
  if (typeof its === 'string') return its.replaceAll('\u0000', '');
  return its !== null && typeof its === 'object' && 'toHexString' in its
    ? (its as { toHexString(): string }).toHexString()
    : null;
}

export const sessionQueries: readonly ApplicationQuery[] = [
  {
    name: 'session',
    asks: 'by session_id= on every request',
    ask(document, outcome) {
      const { session_id: id } = sessionOf(outcome);
      const user = ownerText(document['user_id']);
      return {
        old: find({ session_id: document['session_id'] }, { limit: 1 }),
        new: get(`session:${id}`),
        ...(user !== null && { user }),
      };
    },
  },
  {
    name: 'durable_session',
    asks: 'by session_id=, where Redis no longer has it',
    weight: 0.1,
    index: { target: 'sessions', keys: ['session_id'] },
    ask: (document, outcome) => ({
      old: find({ session_id: document['session_id'] }, { limit: 1 }),
      new: sql('select * from sessions where session_id = $1', sessionOf(outcome).session_id),
    }),
  },
  {
    name: 'sessions_of_user',
    asks: 'of one user: user_id=',
    index: { target: 'sessions', keys: ['user_id'] },
    ask(document) {
      const user = ownerText(document['user_id']);
      if (user === null || !/^[0-9a-f]{24}$/.test(user)) return undefined;
      return {
        old: find({ user_id: document['user_id'] }),
        new: sql('select s.* from sessions s join users u on u.id = s.user_id where u.source_id = $1', user),
        user,
      };
    },
  },
];
