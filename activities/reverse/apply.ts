// The way back: what the new system has changed waits in the outbox; from there it is brought to the old system, in order, and what fails alone is set aside.
import { setTimeout as sleep } from 'node:timers/promises';
import { enterStores } from '../../control/checkpoints.ts';
import { movedOf, takeReverse, wholeDocument } from '../../control/reverse.ts';
import { TroubleNote, troublesNow } from '../../control/troubles.ts';
import { KnownFailure } from '../../core/failures.ts';
import { inTransaction, ownWrites, postgresFailure } from '../../stores/postgres/connection.ts';
import { feedsOf, type ChangeSettings, type Feed } from '../apply.ts';
import { Patience, type Slice, type SliceResult } from '../capture/slice.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { bringBack, feedsFor } from './bring-back.ts';
import { noteUnsaid } from './told.ts';

const keysAtOnce = 300;
const idleMs = 20;
const wholeLookMs = 500;
/** A document that fails alone so often is set aside, so that the others come back. */
const triesAlone = 5;
/** One after the other, with none between that came back: then it is not the documents, and the rest waits until the cause is gone. */
const asideMost = 20;
const beginning = `${asideMost} changes one after the other could not be brought back`;
const who = 'applier of the way back';

/** Applies until its slice is over. One at a time: taking over raises the epoch, and each transaction checks it. */
export async function applyReverse(resources: Resources, settings: ChangeSettings, slice: Slice): Promise<SliceResult> {
  const taken = await takeReverse(resources.postgres, 'epoch', resources.queues.process);
  if (!taken) return { ended: 'closed' };
  const feeds = [...(await feedsOf(resources)).values()];
  const patience = new Patience(slice, new TroubleNote(resources.postgres, who));
  let most = keysAtOnce;
  let failedAlone = 0;
  let aside = (await waitsAlready(resources)) ? asideMost : 0;
  while (!slice.over()) {
    try {
      const applied = await applyNext(resources, taken.epoch, feeds, settings, most);
      if (applied === 'closed' || applied === 'superseded') return { ended: applied };
      await patience.rewarded();
      most = Math.min(most * 2, keysAtOnce);
      aside = 0;
      if (applied === 0) await untilSomething(resources);
    } catch (error) {
      const failure = postgresFailure(error, 'bringing changes back');
      failedAlone = most === 1 ? failedAlone + 1 : 0;
      most = Math.max(Math.floor(most / 4), 1);
      if (!ofDocument(failure)) await patience.after(failure);
      else if (failedAlone < triesAlone) await sleep(100);
      else if (aside >= asideMost) await patience.after(new KnownFailure('StoreBusy', notTheDocuments(failure)));
      else {
        aside++;
        await setAsideFirst(resources, taken.epoch, feeds, failure);
        failedAlone = 0;
      }
    }
  }
  return { ended: 'slice' };
}

/** A small question, often; a whole look, which also tells that somebody has taken over, now and then. What fails is met there. */
async function untilSomething({ postgres }: Resources): Promise<void> {
  for (const until = performance.now() + wholeLookMs; performance.now() < until;) {
    await sleep(idleMs);
    const isThere = await postgres
      .query('select 1 from migration_control.outbox order by id limit 1')
      .then(({ rowCount }) => rowCount !== 0)
      .catch(() => true);
    if (isThere) return;
  }
}

/** An applier before this one has found so: this one does not set as many aside once more. */
const waitsAlready = async ({ postgres }: Resources): Promise<boolean> =>
  (await troublesNow(postgres)).some((one) => one.who === who && one.message.startsWith(beginning));

const notTheDocuments = ({ message }: KnownFailure): string =>
  `${beginning}, so that the cause is not in them; the others wait. ${message}`;

/** Whether the document may be the cause, and not a store that is away or busy. */
const ofDocument = (failure: unknown): failure is KnownFailure =>
  failure instanceof KnownFailure && ['TargetConflict', 'ValueRefused', 'Defect'].includes(failure.type);

/** What is first in the outbox stays in the new system only: told by `reverse status`, and a rollback does not end before somebody has dealt with it. */
async function setAsideFirst(
  resources: Resources,
  epoch: number,
  feeds: readonly Feed[],
  { type, message }: KnownFailure,
): Promise<void> {
  await inTransaction(resources.postgres, 'setting a change aside', async (client) => {
    const { rows } = await client.query<{ mapping: string; source_id: string }>(
      `select mapping, source_id from migration_control.outbox
       where exists (select 1 from migration_control.reverse_position where epoch = $1) order by id limit 1`,
      [epoch],
    );
    const first = rows[0];
    if (!first) return;
    const its = feeds.filter((feed) => feed.mapping.collection === first.mapping);
    const [feed] = (await feedsFor(client, its, [first.source_id])).keys();
    await noteUnsaid(client, feed!, new Map([[first.source_id, [`${wholeDocument} (${type}: ${message})`]]]));
    await client.query('delete from migration_control.outbox where mapping = $1 and source_id = $2', [
      first.mapping,
      first.source_id,
    ]);
    await client.query(`insert into migration_control.audit_log (action, detail) values ('not brought back', $1)`, [
      JSON.stringify({ collection: feed!.source, key: first.source_id, reason: `${type}: ${message}` }),
    ]);
  });
}

interface OutboxRow {
  readonly id: string;
  readonly mapping: string;
  readonly source_id: string;
  readonly origin: 'postgres' | 'mongodb';
  readonly leftover: boolean;
}

async function applyNext(
  resources: Resources,
  epoch: number,
  feeds: readonly Feed[],
  settings: ChangeSettings,
  most: number,
): Promise<number | 'closed' | 'superseded'> {
  return inTransaction(resources.postgres, 'bringing changes back', async (client) => {
    await enterStores(client);
    const held = await client.query<{ epoch: string }>(
      'select epoch from migration_control.reverse_position for update',
    );
    if (held.rows.length === 0) return 'closed';
    if (Number(held.rows[0]!.epoch) !== epoch) return 'superseded';
    await client.query(`set local lock_timeout = 1000; ${ownWrites}`);
    const { rows } = await client.query<OutboxRow>(
      'select id, mapping, source_id, origin, leftover from migration_control.outbox order by id limit $1',
      [most],
    );
    if (rows.length === 0) return 0;
    const moved = await movedOf(client, [...new Set(rows.map((row) => row.mapping))]);
    const sums = { documents: 0, unchanged: 0, conflicts: 0 };
    for (const mapping of new Set(rows.map((row) => row.mapping))) {
      // Where the old system is authoritative, what the target MongoDB tells are our own writes to it. What PostgreSQL tells is somebody's, and
      // is brought back unless the old system's document has changed too.
      const own = rows.filter(
        (row) => row.mapping === mapping && (moved.has(mapping) || row.leftover || row.origin === 'postgres'),
      );
      if (own.length === 0) continue;
      const leftover = new Set(moved.has(mapping) ? [] : own.map((row) => row.source_id));
      const its = feeds.filter((feed) => feed.mapping.collection === mapping);
      const keys = [...new Set(own.map((row) => row.source_id))].sort();
      for (const [feed, ids] of await feedsFor(client, its, keys)) {
        const done = await bringBack(resources, client, feed, ids, settings, leftover);
        sums.documents += done.documents;
        sums.unchanged += done.unchanged;
        sums.conflicts += done.conflicts;
      }
    }
    await client.query('delete from migration_control.outbox where id = any($1::bigint[])', [
      rows.map((row) => row.id),
    ]);
    await client.query(
      `update migration_control.reverse_position set documents = documents + $1, unchanged = unchanged + $2, conflicts = conflicts + $3, updated_at = clock_timestamp()`,
      [sums.documents, sums.unchanged, sums.conflicts],
    );
    killPoint('reverse.before-commit');
    return rows.length;
  });
}
