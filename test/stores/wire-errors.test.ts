// What a real MongoDB says of a change stream and the embedded server never does: which errors pass by themselves, and which are a gap.
import { Long, ObjectId, Timestamp, type Document } from 'bson';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readChanges } from '../../activities/capture/read.ts';
import { Slice } from '../../activities/capture/slice.ts';
import { enroll } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { verifyDirty } from '../../activities/reverse/dirty.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { KnownFailure } from '../../core/failures.ts';
import { ChangeStream } from '../../stores/mongodb/changes.ts';
import { openMongo } from '../../stores/mongodb/connection.ts';
import { StreamLost } from '../../stores/mongodb/token.ts';
import { World } from '../support/world.ts';
import { failure, WirePeer, type Answer } from '../support/wire-peer.ts';

let peer: WirePeer;
let opened: ReturnType<typeof openMongo>;
beforeEach(async () => {
  peer = await WirePeer.listen();
  opened = openMongo(peer.url, 'source');
});
afterEach(async () => {
  await opened.client.close();
  await peer.close();
});

/** As a server from 4.0.7 on writes it: a high-water mark, which holds a time and no event. */
const tokenAt = (time: Timestamp) => ({
  _data: `82${time.getHighBits().toString(16).padStart(8, '0')}${time.getLowBits().toString(16).padStart(8, '0')}2B0429296E1404`,
});
const cursor = (more: Document = {}): Document => ({
  ok: 1,
  cursor: { id: Long.fromNumber(7), ns: 'scripted.$cmd.aggregate', postBatchResumeToken: tokenAt(peer.time), ...more },
});
const stream: Answer = (_command, name) =>
  name === 'aggregate' ? cursor({ firstBatch: [] }) : name === 'getMore' ? cursor({ nextBatch: [] }) : undefined;
const open = () =>
  ChangeStream.open(opened, 'updateLookup', { token: tokenAt(peer.time), last: undefined }, { awaitMs: 10 });

/** Answers the first command of a name so, and then as a stream does. */
const once = (name: string, answer: Document | 'hang up'): Answer => {
  let isDone = false;
  return (command, its) => {
    if (its !== name || isDone) return stream(command, its);
    isDone = true;
    return answer;
  };
};

const label = ['ResumableChangeStreamError'];
const passing: [string, Document | 'hang up'][] = [
  ['234 RetryChangeStream', failure(234, 'RetryChangeStream', label)],
  ['234 without its label', failure(234, 'RetryChangeStream')],
  ['133 FailedToSatisfyReadPreference', failure(133, 'FailedToSatisfyReadPreference', label)],
  ['63 StaleShardVersion', failure(63, 'StaleShardVersion', label)],
  ['150 StaleEpoch', failure(150, 'StaleEpoch', label)],
  ['13388 StaleConfig', failure(13388, 'StaleConfig', label)],
  ['43 CursorNotFound', failure(43, 'CursorNotFound', label)],
  ['13435 NotPrimaryNoSecondaryOk', failure(13435, 'NotPrimaryNoSecondaryOk', label)],
  ['10107 NotWritablePrimary', failure(10107, 'NotWritablePrimary', label)],
  ['a code that nobody knows, with the label', failure(99_999, 'Unheard', label)],
  ['a connection that breaks', 'hang up'],
];

test.each(passing)('%s while reading passes by itself', async (_name, answer) => {
  peer.answer = once('getMore', answer);
  const one = await open();
  const error = await one.next().then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(KnownFailure);
  expect((error as KnownFailure).type).toMatch(/StoreBusy|StoreUnreachable/);
  await one.close();
  // The next attempt goes on from the same position.
  const again = await open();
  expect((await again.next()).atEnd).toBe(true);
  await again.close();
});

test.each(passing.slice(0, 4))('%s while opening passes by itself', async (_name, answer) => {
  peer.answer = once('aggregate', answer);
  await expect(open()).rejects.toMatchObject({ type: expect.stringMatching(/StoreBusy|StoreUnreachable/) as string });
});

test.each([
  [286, 'ChangeStreamHistoryLost', 'history-lost'],
  [136, 'CappedPositionLost', 'history-lost'],
  [280, 'ChangeStreamFatalError', 'token-refused'],
  [260, 'InvalidResumeToken', 'token-refused'],
])('%d %s is a gap', async (code, name, kind) => {
  peer.answer = once('aggregate', failure(code, name, ['NonResumableChangeStreamError']));
  await expect(open()).rejects.toMatchObject({ name: StreamLost.name, kind });
});

test('an error that may not be resumed from is a gap, whatever its code', async () => {
  peer.answer = once('aggregate', failure(99_999, 'Unheard', ['NonResumableChangeStreamError']));
  await expect(open()).rejects.toMatchObject({ name: StreamLost.name });
});

test('a source that is behind the last change for a moment, as after an election, is waited for; one that is far behind is another', async () => {
  const world = await World.open('wire');
  try {
    const own = await world.resources('wire');
    const resources = { ...own, source: { ...own.source, client: opened.client, db: opened.db } } as Resources;
    await makeControlSchema(own.postgres, world.name);
    const position = async (seconds: number) => {
      await world.rows('delete from migration_control.capture_stream');
      await world.pool.query(
        `insert into migration_control.capture_stream (token, opened_version, version, last_version, last_op_index, lanes, images)
         values ($1, 1, $2, 0, 0, 1, 'updateLookup')`,
        [JSON.stringify(tokenAt(peer.time)), ((BigInt(peer.time.getHighBits() + seconds) << 32n) | 1n).toString()],
      );
    };
    const read = (ms: number) => readChanges(resources, new Slice(ms, new AbortController().signal, () => undefined));
    peer.answer = stream;
    await position(8);
    const reading = read(3000);
    await expect
      .poll(async () => await world.rows('select who, type from migration_control.capture_troubles'))
      .toEqual([{ who: 'reader', type: 'StoreBusy' }]);
    peer.time = new Timestamp({ t: peer.time.getHighBits() + 10, i: 1 });
    expect(await reading).toEqual({ ended: 'slice' });
    expect(await world.rows('select 1 from migration_control.capture_gaps')).toEqual([]);
    expect(await world.rows('select 1 from migration_control.capture_troubles')).toEqual([]);
    await position(3600);
    expect(await read(3000)).toEqual({ ended: 'gap' });
    await own.close();
  } finally {
    await world.close();
  }
});

test('what a TTL index removes comes as any other deletion: the embedded server tells of none', async () => {
  const _id = new ObjectId();
  const gone = {
    _id: tokenAt(peer.time),
    operationType: 'delete',
    clusterTime: peer.time,
    wallTime: new Date(),
    ns: { db: 'scripted', coll: 'sessions' },
    documentKey: { _id },
  };
  peer.answer = once('getMore', cursor({ nextBatch: [gone] }));
  const one = await open();
  expect((await one.next()).events).toMatchObject([
    { kind: 'document', collection: 'sessions', id: _id.toHexString(), bytes: undefined },
  ]);
  await one.close();
});

test("what was written last is compared by the source's clock, however far that and PostgreSQL's stand apart", async () => {
  const world = await World.open('clocks');
  const own = await world.resources();
  try {
    const resources = { ...own, source: { ...own.source, client: opened.client, db: opened.db } } as Resources;
    await makeControlSchema(own.postgres, world.name);
    const id = await enroll(resources, 'sessions', 'sessions');
    for (const seconds of [-3600, 0, 3600]) {
      peer.time = new Timestamp({ t: Math.floor(Date.now() / 1000) + seconds, i: 5 });
      const last = ((BigInt(peer.time.getHighBits()) << 32n) | 1n).toString();
      await world.rows('truncate migration_control.ledger');
      // The peer has no documents: one that was deleted is equal, one that was not differs.
      await world.pool.query(
        `insert into migration_control.ledger (collection_id, source_id, version, op_index, deleted, state, mapping_version, source_digest, origin)
         values ($1, '"a"', $2, 0, true, 's', 1, 0, 'c')`,
        [id, last],
      );
      expect(await verifyDirty(resources, ['sessions']), `${seconds} s`).toBe(1);
      await world.rows(`update migration_control.ledger set deleted = false, state = 'l'`);
      await expect(verifyDirty(resources, ['sessions']), `${seconds} s`).rejects.toMatchObject({
        type: 'SwitchRefused',
      });
    }
  } finally {
    await own.close();
    await world.close();
  }
});
