// The target MongoDB's changes into the outbox, as keys: for documents its change stream is the outbox, and its token moves with what was read.
import { setTimeout as sleep } from 'node:timers/promises';
import { readReverse, takeReverse } from '../../control/reverse.ts';
import { sourceIdOf } from '../../core/identity.ts';
import { ChangeStream, lostMs, seekingMs, type Batch } from '../../stores/mongodb/changes.ts';
import { StreamLost, tokenText } from '../../stores/mongodb/token.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { TroubleNote } from '../../control/troubles.ts';
import { Patience, type Slice, type SliceResult } from '../capture/slice.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { targetPosition } from './arm.ts';

const awaitMs = 100;

/** Reads until its slice is over. Where the stream cannot be resumed, every document is looked at once: rebuilding tells what has changed. */
export async function readReverseChanges(resources: Resources, slice: Slice): Promise<SliceResult> {
  const taken = await takeReverse(resources.postgres, 'reader_epoch', resources.queues.process);
  if (!taken) return { ended: 'closed' };
  const mappings = mappingByTarget(resources);
  const patience = new Patience(slice, new TroubleNote(resources.postgres, 'reader of the way back'));
  let silenceMs = lostMs;
  let before = -1n;
  while (!slice.over()) {
    try {
      const position = await readReverse(resources.postgres);
      if (!position) return { ended: 'closed' };
      if (position.readerEpoch !== taken.readerEpoch) return { ended: 'superseded' };
      if (position.token === null) {
        // No mapping writes documents to MongoDB: there is nothing to read.
        await sleep(1000);
        continue;
      }
      const ended = await follow(
        resources,
        { ...position, token: position.token, silenceMs },
        mappings,
        slice,
        patience,
      );
      if (ended !== 'lost') return { ended };
      await beginAgain(resources, taken.readerEpoch, mappings);
    } catch (error) {
      await patience.after(error);
      const { streamVersion = before } = (await readReverse(resources.postgres).catch(() => undefined)) ?? {};
      // Nothing came: it may have been looking for the position, and not have fallen silent.
      silenceMs = streamVersion === before ? seekingMs : lostMs;
      before = streamVersion;
    }
  }
  return { ended: 'slice' };
}

function mappingByTarget({ mappings }: Resources): Map<string, string> {
  return new Map(
    [...mappings.values()].flatMap((mapping) =>
      mapping.targets
        .filter((target) => target.store === 'mongodb')
        .map((target) => [target.name, mapping.collection] as const),
    ),
  );
}

async function follow(
  resources: Resources,
  position: { readonly token: Record<string, unknown>; readonly readerEpoch: number; readonly silenceMs: number },
  mappings: ReadonlyMap<string, string>,
  slice: Slice,
  patience: Patience,
): Promise<'slice' | 'superseded' | 'lost'> {
  let stream: ChangeStream | undefined;
  try {
    stream = await mongo('resuming the change stream of the target', () =>
      ChangeStream.open(
        resources.mongodb,
        'updateLookup',
        { token: position.token, last: undefined },
        { awaitMs, silenceMs: position.silenceMs },
      ),
    );
    let savedAt = 0;
    while (!slice.over()) {
      const batch: Batch = await mongo('reading changes of the target', () => stream!.next());
      if (batch.events.length === 0 && Date.now() - savedAt < 500) continue;
      // A collection of ours was dropped or renamed: no document's change says so.
      if (
        batch.events.some(
          (event) => event.kind === 'other' && event.collection !== undefined && mappings.has(event.collection),
        )
      )
        return 'lost';
      if (!(await keep(resources, position.readerEpoch, batch, mappings))) return 'superseded';
      killPoint('reverse.after-read');
      await patience.rewarded();
      savedAt = Date.now();
    }
    return 'slice';
  } catch (error) {
    if (error instanceof StreamLost) return 'lost';
    throw error;
  } finally {
    await stream?.close();
  }
}

async function keep(
  { postgres }: Resources,
  epoch: number,
  batch: Batch,
  mappings: ReadonlyMap<string, string>,
): Promise<boolean> {
  const events = batch.events.flatMap((event) =>
    event.kind === 'document' && mappings.has(event.collection)
      ? [{ mapping: mappings.get(event.collection)!, id: event.id, time: event.version.time }]
      : [],
  );
  return inTransaction(postgres, 'noting changes of the target', async (client) => {
    const { rows } = await client.query<{ leftover_version: string }>(
      `update migration_control.reverse_position set token = $2, stream_version = greatest(stream_version, $3), updated_at = clock_timestamp()
       where reader_epoch = $1 returning leftover_version`,
      [epoch, tokenText(batch.token), batch.time.toString()],
    );
    if (rows.length !== 1) return false;
    const leftover = BigInt(rows[0]!.leftover_version);
    if (events.length > 0)
      await client.query(
        `insert into migration_control.outbox (mapping, source_id, leftover, origin) select *, 'mongodb' from unnest($1::text[], $2::text[], $3::boolean[])`,
        [
          events.map((event) => event.mapping),
          events.map((event) => event.id),
          events.map((event) => event.time <= leftover),
        ],
      );
    return true;
  });
}

/** A new position first, then every document of these mappings into the outbox. */
async function beginAgain(resources: Resources, epoch: number, mappings: ReadonlyMap<string, string>): Promise<void> {
  const position = await targetPosition(resources);
  if (!position) return;
  const born: [string, string][] = [];
  for (const [collection, mapping] of mappings)
    for (const id of await idsOf(resources, collection)) born.push([mapping, id]);
  await inTransaction(resources.postgres, 'beginning again with the changes of the target', async (client) => {
    const { rows } = await client.query<{ leftover: boolean }>(
      `update migration_control.reverse_position n set token = $2, stream_version = $3 from migration_control.reverse_position o
       where n.reader_epoch = $1 and o.one returning o.stream_version < o.leftover_version as leftover`,
      [epoch, tokenText(position.token), position.version.toString()],
    );
    if (rows.length !== 1) return;
    await client.query(
      `insert into migration_control.outbox (mapping, source_id, leftover, origin)
       select c.mapping, l.source_id, $4, 'mongodb' from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id
       where c.mapping = any($1) and l.state = 'l' and not l.deleted
       union select b.*, $4, 'mongodb' from unnest($2::text[], $3::text[]) b`,
      [[...mappings.values()], born.map(([mapping]) => mapping), born.map(([, id]) => id), rows[0]!.leftover],
    );
    await client.query(
      `insert into migration_control.audit_log (action, detail) values ('way back looks at every document', $1)`,
      [JSON.stringify({ collections: [...mappings.keys()], why: 'the target MongoDB no longer tells every change' })],
    );
  });
}

async function idsOf({ mongodb }: Resources, collection: string): Promise<string[]> {
  return mongo(`listing ${collection}`, async () => {
    const ids: string[] = [];
    const cursor = mongodb.db.collection(collection).find({}, { projection: { _id: 1 }, raw: true });
    for await (const raw of cursor) ids.push(sourceIdOf(raw as unknown as Uint8Array));
    return ids;
  });
}
