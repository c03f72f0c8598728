// One document must not stop the others: a batch that fails is halved until the documents that fail alone are found, and those are set aside.
import type pg from 'pg';
import { failures, KnownFailure, type FailureType } from '../../core/failures.ts';
import { notAppliedRule, refusedRule } from '../../core/quarantine.ts';
import { postgresFailure } from '../../stores/postgres/connection.ts';
import { orNoteAgain } from '../../stores/postgres/redo.ts';
import {
  applyChanges,
  lostKey,
  noTotals,
  type Change,
  type ChangeOptions,
  type ChangeSettings,
  type Totals,
} from '../apply.ts';
import type { Resources } from '../resources.ts';
import type { Why } from '../shape.ts';

export interface PatientOptions extends Omit<ChangeOptions, 'outside'> {
  /** The batch has failed again and again because a store is busy: a document that keeps it busy waits, so that the others go on. */
  readonly tired?: boolean;
}

/** A failure that the document may be the cause of, and not a store that is away or busy. */
export const mayBeTheDocument = (failure: unknown): failure is KnownFailure =>
  failure instanceof KnownFailure && ofDocument.has(failure.type);
const ofDocument = new Set<FailureType>(['ValueRefused', 'TargetConflict', 'Defect']);
/** So many fail alone, and none passes: then it is not the documents. They wait, and quarantine is not filled with them. */
const mostAlone = 20;

interface Failing {
  readonly changes: readonly Change[];
  readonly failure: KnownFailure;
}

interface Search {
  readonly resources: Resources;
  readonly client: pg.ClientBase;
  readonly settings: ChangeSettings;
  readonly options: PatientOptions;
  readonly failing: Failing[];
  passed: number;
}

/** Applies what can be applied. A document that fails alone is set aside under a rule; one that cannot be is noted to be read again, with the cause. */
export async function applyPatiently(
  resources: Resources,
  client: pg.ClientBase,
  changes: readonly Change[],
  settings: ChangeSettings,
  options: PatientOptions = {},
): Promise<Totals> {
  const search: Search = { resources, client, settings, options, failing: [], passed: 0 };
  const totals = [await find(search, changes)];
  const { failing } = search;
  const busy = failing.filter(({ failure }) => !ofDocument.has(failure.type));
  if (busy.length > 1 && search.passed === 0) throw busy[0]!.failure;
  const all = isEverybody(search);
  for (const one of failing) totals.push(all ? await wait(client, one) : await setAsideOne(search, one));
  return totals.reduce(sum);
}

const isEverybody = ({ failing, passed }: Search): boolean => failing.length >= mostAlone && passed === 0;

/** Halves until what fails is one document, and lets that one try twice: another writer may have come between. */
async function find(search: Search, changes: readonly Change[], again = false): Promise<Totals> {
  const { resources, client, settings, options } = search;
  const keys = [...new Set(changes.map(({ feed, id }) => lostKey(feed, id)))];
  try {
    const totals = await inSavepoint(client, () => applyChanges(resources, client, changes, settings, options));
    search.passed += keys.length;
    return totals;
  } catch (error) {
    const failure = postgresFailure(error, 'applying changes');
    if (!isSearched(failure, options.tired)) throw error;
    if (keys.length === 1) {
      if (!again) return find(search, changes, true);
      search.failing.push({ changes, failure: asKnown(failure) });
      // The copy has nobody who comes back to them: it stops, and says why.
      if (options.origin === 'copy' && isEverybody(search)) throw asKnown(failure);
      return noTotals();
    }
    // Both halves in order, and no key in both: changes to one document stay together.
    const left = new Set(keys.slice(0, keys.length >> 1));
    const isLeft = ({ feed, id }: Change) => left.has(lostKey(feed, id));
    return sum(
      await find(search, changes.filter(isLeft)),
      await find(
        search,
        changes.filter((change) => !isLeft(change)),
      ),
    );
  }
}

/** An error that nobody has classified comes from our own code, with the document at hand. */
const isSearched = (failure: unknown, tired = false): boolean =>
  !(failure instanceof KnownFailure) ||
  ofDocument.has(failure.type) ||
  (tired && failures[failure.type].retryable && failure.type === 'StoreBusy');

const asKnown = (failure: unknown): KnownFailure =>
  failure instanceof KnownFailure ? failure : new KnownFailure('Defect', (failure as Error).name);

async function setAsideOne(search: Search, one: Failing): Promise<Totals> {
  const { resources, client, settings, options } = search;
  const [first] = one.changes;
  if (!ofDocument.has(one.failure.type)) return wait(client, one);
  const { feed, id } = first!;
  const why: Why = {
    rule: one.failure.type === 'Defect' ? notAppliedRule : refusedRule,
    path: '',
    message: one.failure.message,
  };
  if (options.origin === 'read again' && (await standsAside(client, one.changes, why.rule))) return noTotals();
  const lost = new Map([...(options.lost ?? []), [lostKey(feed, id), why]]);
  // What another store refuses of it may also keep it from being taken away there: then only PostgreSQL says so.
  for (const outside of ['settle', 'leave'] as const)
    try {
      return await inSavepoint(client, () =>
        applyChanges(resources, client, one.changes, settings, { ...options, lost, outside }),
      );
    } catch (error) {
      if (!isSearched(postgresFailure(error, 'setting a document aside'), true)) throw error;
    }
  if (options.origin === 'copy') throw one.failure;
  return wait(client, one);
}

/** Whether a document that was read again stands aside already, for the same reason: then it stays as it is. */
async function standsAside(client: pg.ClientBase, changes: readonly Change[], rule: string): Promise<boolean> {
  const { feed, id, version } = changes.at(-1)!;
  const { rowCount } = await client.query(
    // It had yielded to this read, which has changed nothing.
    `update migration_control.ledger set op_index = case when version = $4 and op_index = $5 - 1 then $5 else op_index end
     where collection_id = $1 and source_id = $2 and state = 'q' and rule = $3 and not deleted`,
    [feed.collectionId, id, rule, version.time.toString(), version.op],
  );
  return rowCount === 1;
}

/** Noted in the transaction of the batch: what is read again later is the document as it is then. */
async function wait(client: pg.ClientBase, { changes, failure }: Failing): Promise<Totals> {
  const { feed, id } = changes[0]!;
  await client.query(
    `insert into migration_control.redo (collection_id, source_id, reason, cause, due_at) values ($1, $2, 'waits', $3, clock_timestamp() + interval '500 ms')
     ${orNoteAgain}, cause = excluded.cause`,
    [feed.collectionId, id, failure.message],
  );
  return { ...noTotals(), later: new Set([lostKey(feed, id)]) };
}

async function inSavepoint<T>(client: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  await client.query('savepoint half');
  try {
    const result = await work();
    await client.query('release savepoint half');
    return result;
  } catch (error) {
    await client.query('rollback to savepoint half; release savepoint half');
    throw error;
  }
}

const sum = (a: Totals, b: Totals): Totals => ({
  applied: a.applied + b.applied,
  stale: a.stale + b.stale,
  quarantined: a.quarantined + b.quarantined,
  clashes: [...a.clashes, ...b.clashes],
  refused: new Set([...a.refused, ...b.refused]),
  touched: new Set([...a.touched, ...b.touched]),
  later: new Set([...a.later, ...b.later]),
});
