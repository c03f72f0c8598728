// What the application asks of its users.
import type { Outcome } from '../../mapping.ts';
import { find, sql, type ApplicationQuery } from '../../query.ts';

const userOf = (outcome: Outcome) => outcome['users']![0] as { username: string; email: string };

export const userQueries: readonly ApplicationQuery[] = [
  {
    name: 'user_by_name',
    asks: 'log-in: username= on every request',
    weight: 4,
    index: { target: 'users', keys: ['username'] },
    ask: (document, outcome) => ({
      old: find({ username: document['username'] }, { limit: 1 }),
      new: sql('select * from users where username = $1', userOf(outcome).username),
    }),
  },
  {
    name: 'user_by_email',
    asks: 'by email=',
    index: { target: 'users', keys: ['email'] },
    ask: (document, outcome) => ({
      old: find({ email: document['email'] }, { limit: 1 }),
      new: sql('select * from users where email = $1', userOf(outcome).email),
    }),
  },
  {
    name: 'user_settings',
    asks: 'a user with all settings: username=',
    index: { target: 'user_configs', keys: ['user_id', 'config_type'] },
    ask: (document, outcome) => ({
      old: find({ username: document['username'] }, { limit: 1 }),
      new: sql(
        'select c.config_type, c.config_data from user_configs c join users u on u.id = c.user_id where u.username = $1',
        userOf(outcome).username,
      ),
    }),
  },
  {
    name: 'user_list',
    asks: 'a page of 100 users',
    weight: 0.05,
    ask: () => ({
      old: find({}, { limit: 100 }),
      new: sql('select * from users order by id limit 100'),
    }),
  },
];
