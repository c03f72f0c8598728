// What the application asks of its settings.
import type { Outcome } from '../../mapping.ts';
import { find, sql, type ApplicationQuery } from '../../query.ts';

const settingOf = (outcome: Outcome) => outcome['app_metadata']![0] as { key: string; category: string };

export const settingQueries: readonly ApplicationQuery[] = [
  {
    name: 'setting',
    asks: 'by key=',
    index: { target: 'app_metadata', keys: ['key'] },
    ask: (document, outcome) =>
      document['key'] === undefined
        ? undefined
        : {
            old: find({ key: document['key'] }, { limit: 1 }),
            new: sql('select value from app_metadata where key = $1', settingOf(outcome).key),
          },
  },
  {
    name: 'settings_of_category',
    asks: 'of one category: category=',
    index: { target: 'app_metadata', keys: ['category'] },
    ask: (document, outcome) =>
      document['category'] === undefined
        ? undefined
        : {
            old: find({ category: document['category'] }),
            new: sql('select key, value from app_metadata where category = $1', settingOf(outcome).category),
          },
  },
];
