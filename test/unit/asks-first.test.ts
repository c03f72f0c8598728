// Every statement that removes, empties, renames or writes over something stands here, with what it asks first: a new one has to say it too.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkout } from '../../stack/home.ts';

const rooms = ['activities', 'assess', 'cli', 'control', 'lineage', 'report', 'spool', 'stores', 'traffic', 'workers'];
const statement =
  /delete from|truncate |\bdrop (?:table|schema|trigger|constraint|column|sequence)|\bdeleteMany\(|\bdeleteOne\(|dropDatabase\(|dropCollection\(|\.drop\(|\bflush(?:db|all)\(|\bunlink\(|\.del\(|\.rename\(|'(?:DEL|UNLINK)'|\bdelete: collection|\brm(?:Sync)?\(|disable trigger|pg_terminate_backend\(/i;

/** What a step calls, in its own transaction, before it touches anything. */
const guards = {
  /** Whose data counts, and that it stays so: the routes are held. */
  authority: /\b(?:whileOldCounts|whileNewCounts|movedOf|takeRoutes|holdRoutes|enter\(client)/,
  /** A restore that is still this one, and targets that are still ours. */
  restore: /\bwhileRestoring\b/,
  /** An epoch or a token: who was thought dead finds another. */
  epoch: /\bholdsLane\b|\bepoch\b|\btoken\b/,
  /** The mark of the store or folder. */
  mark: /\bassertMarks?\b/,
  /** That nothing of anybody's stands under the name. */
  taken: /\brefuseTaken\b/,
} as const;
type Guard = keyof typeof guards;

interface Known {
  /** Asked in the module itself. */
  readonly asks?: Guard;
  /** Called from this module only, which asks. */
  readonly by?: readonly string[];
  /** Nothing that counts: why it needs not ask. */
  readonly because?: string;
}

const known: Record<string, Known> = {
  'activities/capture/lane.ts': { asks: 'epoch' },
  'activities/capture/redo.ts': { asks: 'authority' },
  'activities/capture/seen.ts': { because: 'a list of a repair of its own, proven whole before anything hangs on it' },
  'activities/capture/tend.ts': { because: 'figures of the past; keys that broke off go by movedOf' },
  'activities/checkpoint/restore.ts': { asks: 'authority' },
  'activities/checks/invariants.ts': { because: 'a temporary table' },
  'activities/decommission/retire.ts': { asks: 'authority' },
  'activities/elect.ts': { because: 'before the copy: nothing is loaded yet, and the next statement writes them anew' },
  'activities/evidence/checks.ts': { because: 'differences that are none any more; evidence is sampled again' },
  'activities/performance/diagnose.ts': { because: 'only says which statement would end who is in the way' },
  'activities/quarantine.ts': { asks: 'authority' },
  'activities/record.ts': { because: 'scratch objects of the rehearsal, with names of its own' },
  'activities/reverse/apply.ts': { asks: 'epoch' },
  'activities/reverse/arm.ts': { asks: 'authority' },
  'activities/reverse/closing.ts': { asks: 'epoch' },
  'activities/reverse/flip.ts': { asks: 'authority' },
  'activities/reverse/told.ts': {
    because: 'told anew in the same transaction, by bring-back, whose caller holds the epoch',
  },
  'activities/route.ts': { because: 'notes of stages, after the routes have gone back' },
  'activities/targets.ts': { asks: 'authority' },
  'activities/verify/repair.ts': { asks: 'authority' },
  'cli/commands/demo.ts': { because: "the demo's own file" },
  'control/announced-keys.ts': { by: ['activities/capture/tend.ts', 'activities/load.ts'] },
  'control/capture.ts': { by: ['activities/decommission/retire.ts', 'activities/targets.ts'] },
  'control/kept-key.ts': { because: 'a draft of a key that was linked under its name' },
  'control/lineage.ts': { because: 'versions that newer ones replaced, after their time' },
  'control/routing.ts': {
    because: 'routers that are long gone; backends that hold the routes, in an emergency that somebody has ordered',
  },
  'control/schema.ts': { asks: 'authority' },
  'control/stale-files.ts': { because: 'a note with its own mark: one that was written since has another' },
  'control/traffic.ts': { because: 'samples of the past' },
  'control/troubles.ts': { because: 'what does not fail any more' },
  'control/verification.ts': { because: 'books of a verification: what is equal is no suspect' },
  'control/workers.ts': { because: 'the note of a worker that leaves, which it wrote itself' },
  'control/writing-sessions.ts': { because: 'sessions of processes that are dead, found by their own ids' },
  'spool/private.ts': { because: 'a draft of a file' },
  'spool/segment.ts': { because: 'documents on their way, which the source still has' },
  'stores/files/owner.ts': { by: ['activities/targets.ts'] },
  'stores/files/snapshot.ts': { by: ['activities/checkpoint/put-back.ts'] },
  'stores/mongodb/identity.ts': { by: ['activities/identity.ts'] },
  'stores/mongodb/raw-write.ts': {
    because: 'documents by their ids, in the transaction that has looked at their guards',
  },
  'stores/mongodb/rehearsal.ts': { because: 'a collection of its own name' },
  'stores/mongodb/schema.ts': { by: ['activities/targets.ts'] },
  'stores/mongodb/snapshot.ts': { by: ['activities/checkpoint/put-back.ts', 'activities/decommission/restore.ts'] },
  'stores/mongodb/write-back.ts': { by: ['activities/reverse/arm.ts'] },
  'stores/postgres/apply.ts': {
    because:
      'rows of documents that were applied in this transaction, under the guard of versions; applyChanges asks where writes go',
  },
  'stores/postgres/clashes.ts': { because: 'a temporary table' },
  'stores/postgres/created.ts': { by: ['activities/targets.ts'] },
  'stores/postgres/notes.ts': { because: 'notes of documents that were applied in this transaction' },
  'stores/postgres/rehearsal.ts': { because: 'a table of its own, in a transaction that is rolled back' },
  'stores/postgres/schema.ts': { by: ['activities/targets.ts'] },
  'stores/postgres/snapshot.ts': { by: ['activities/checkpoint/rows.ts'] },
  'stores/postgres/stage.ts': { because: 'a temporary table' },
  'stores/postgres/triggers.ts': { by: ['activities/checkpoint/rows.ts'] },
  'stores/redis/identity.ts': { by: ['activities/identity.ts'] },
  'stores/redis/loader.ts': {
    by: ['activities/checkpoint/put-back.ts', 'activities/capture/tend.ts', 'activities/targets.ts'],
  },
  'stores/redis/outdate.ts': { by: ['activities/verify/repair.ts'] },
  'stores/redis/rehearsal.ts': { because: 'keys under a prefix of its own' },
  'stores/redis/script.ts': { because: 'a key of its document in an older version: the script itself asks' },
  'stores/redis/snapshot.ts': { by: ['activities/checkpoint/put-back.ts'] },
  'stores/snapshots/draft.ts': { because: 'drafts of snapshots that were not finished' },
  'traffic/dual-collection.ts': { because: "the application's own calls, passed on" },
};

const textOf = (file: string): string => readFileSync(join(checkout, file), 'utf8');
const isComment = (line: string): boolean => /^\s*(?:\/\/|\*|\/\*|import )/.test(line);
const found = rooms.flatMap((room) =>
  readdirSync(join(checkout, room), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(room, name))
    .filter((file) =>
      textOf(file)
        .split('\n')
        .some((line) => !isComment(line) && statement.test(line)),
    ),
);

test('no module removes anything without standing here', () => {
  expect(found.filter((file) => !(file in known)).sort()).toEqual([]);
  // And nothing stands here that is gone.
  expect(Object.keys(known).filter((file) => !found.includes(file))).toEqual([]);
});

test.each(Object.entries(known))('%s asks, or is called by who does', (file, { asks, by = [], because }) => {
  if (asks) expect(textOf(file)).toMatch(guards[asks]);
  for (const caller of by) {
    expect(imports(caller, file), `${caller} uses ${file}`).toBe(true);
    expect(
      Object.values(guards).some((guard) => guard.test(textOf(caller))),
      `${caller} asks`,
    ).toBe(true);
  }
  expect(asks !== undefined || by.length > 0 || because !== undefined).toBe(true);
});

function imports(file: string, imported: string): boolean {
  const here = file.split('/').slice(0, -1);
  return [...textOf(file).matchAll(/from '(\.[^']+)'/g)].some(([, path]) => {
    const parts = [...here];
    for (const part of path!.split('/')) {
      if (part === '..') parts.pop();
      else if (part !== '.') parts.push(part);
    }
    return parts.join('/') === imported;
  });
}
