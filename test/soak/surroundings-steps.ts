// What is done over the faulty lines, step by step as the workflows do it, each on documents of its own.
import { setTimeout as sleep } from 'node:timers/promises';
import { Double, Int32, ObjectId } from 'bson';
import type { Document } from 'mongodb';
import { feedsOf } from '../../activities/apply.ts';
import { comingTogether } from '../../activities/capture/caught-up.ts';
import { applyLane } from '../../activities/capture/lane.ts';
import { readChanges } from '../../activities/capture/read.ts';
import { repairGap } from '../../activities/capture/repair.ts';
import { Slice, type SliceResult } from '../../activities/capture/slice.ts';
import { tendTargets } from '../../activities/capture/tend.ts';
import { createSnapshot } from '../../activities/checkpoint/create.ts';
import { restoreDocuments, restoreFiles, restoreKeys, restoreRows } from '../../activities/checkpoint/put-back.ts';
import { beginRestore, finishRestore, verifySnapshot } from '../../activities/checkpoint/restore.ts';
import { extractSegment, OpenReads } from '../../activities/extract.ts';
import { loadOutside, loadPostgres } from '../../activities/load.ts';
import type { Resources } from '../../activities/resources.ts';
import { applyReverse } from '../../activities/reverse/apply.ts';
import { armReverse } from '../../activities/reverse/arm.ts';
import { readReverseChanges } from '../../activities/reverse/read.ts';
import { switchBack, switchToNew } from '../../activities/reverse/switch.ts';
import { route } from '../../activities/route.ts';
import { nowAtSource } from '../../activities/settled.ts';
import { transformSegment } from '../../activities/transform.ts';
import { bringingBack } from '../../control/reverse.ts';
import { removeWorker, showWorker } from '../../control/workers.ts';
import { sourceId } from '../../core/identity.ts';
import type { DualCollection } from '../../traffic/dual-collection.ts';
import { DualWriteManager } from '../../traffic/dual-write.ts';
import { Router } from '../../traffic/router.ts';
import { diskFaults, type DiskFault } from '../support/faulty-disk.ts';
import { Hanging, within, type Bench } from './surroundings-bench.ts';

export const transform = { zone: 'Asia/Shanghai', providers: [] };
const tending = { ...transform, clashSeconds: 10, configurationDirectory: 'configuration' };
const written = ['token_usage', 'sessions', 'analysis_results'] as const;

export interface Step {
  readonly name: string;
  /** What may go wrong with its files; nothing where it has none. */
  readonly disk?: readonly DiskFault[];
  /** Done once, with nothing wrong, before the first case. */
  before?(): Promise<void>;
  /** What is measured and faulted. `n`: another for each call. */
  run(n: number): Promise<void>;
  /** With nothing wrong again: throws, or finds, where something is not as it must be. Both sides as a whole are compared after all rounds of a step. */
  check(n: number): Promise<void>;
  after?(): Promise<void>;
  /** Share of the time. */
  readonly weight: number;
  /** What it leaves open the next step settles: both sides are compared after that. */
  readonly goesOn?: boolean;
}

type Loop = (resources: Resources, slice: Slice) => Promise<SliceResult>;
const lanesOf = async (bench: Bench): Promise<number[]> =>
  (await bench.world.rows<{ lane: number }>('select lane from migration_control.capture_position order by 1')).map(
    (row) => row.lane,
  );
const laneLoop =
  (lane: number): Loop =>
  (resources, slice) =>
    applyLane(resources, lane, transform, slice);

/** Activities that go on until they are stopped, begun again when their slice ends, as the workflows do. */
export class Pump {
  readonly #over = new AbortController();
  readonly #running: Promise<unknown>[];

  constructor(bench: Bench, resources: Resources, loops: Readonly<Record<string, Loop>>) {
    this.#running = Object.entries(loops).map(async ([name, loop]) => {
      while (!this.#over.signal.aborted)
        await bench.step(name, () =>
          // A slice has no end of its own here: a step that hangs is to be seen.
          loop(resources, new Slice(40_000, this.#over.signal, () => undefined)),
        );
    });
    for (const one of this.#running) one.catch(() => undefined);
  }

  /** Throws what has ended a loop. */
  async stop(): Promise<void> {
    this.#over.abort();
    await Promise.all(this.#running);
  }
}

export const capture = async (bench: Bench): Promise<Record<string, Loop>> => ({
  reader: readChanges,
  housekeeping: (resources, slice) => tendTargets(resources, tending, slice),
  ...Object.fromEntries((await lanesOf(bench)).map((lane) => [`lane ${lane}`, laneLoop(lane)])),
});
const wayBack: Record<string, Loop> = {
  'reader of the way back': readReverseChanges,
  applier: (resources, slice) => applyReverse(resources, transform, slice),
};

/** As a worker shows that it lives; returns how it leaves. */
function announce(pool: Resources['postgres']): () => Promise<void> {
  const shown = { holder: 'bench', silent: [], suspended: undefined };
  const timer = setInterval(() => void showWorker(pool, shown).catch(() => undefined), 1000);
  return async () => {
    clearInterval(timer);
    await removeWorker(pool, shown.holder);
  };
}

/** Until it holds. */
async function until(what: string, holds: () => Promise<boolean>, ms = 60_000): Promise<void> {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    if (await holds()) return;
    if (Date.now() > end) throw new Error(`${what}: not after ${ms} ms`);
  }
}

/** Capture without faults, until it has everything. */
export async function catchUp(bench: Bench): Promise<void> {
  const pump = new Pump(bench, bench.clean, await capture(bench));
  try {
    await until('capture catches up', comingTogether(bench.clean, await nowAtSource(bench.clean)));
  } finally {
    await pump.stop();
  }
}

const usage = (n: number): Document => ({
  _id: new ObjectId(),
  timestamp: new Date(),
  provider: 'deepseek',
  model_name: 'deepseek-chat',
  input_tokens: new Int32(n + 1),
  output_tokens: new Int32(1),
  cost: new Double(0.5),
  currency: 'CNY',
  session_id: `case ${n}`,
});
const session = (n: number): Document => ({
  _id: new ObjectId(),
  session_id: `surroundings-${n}-${new ObjectId().toHexString()}`,
  created_at: new Date(),
  expires_at: new Date(Date.now() + 24 * 3_600_000),
});

/** Documents of the application, by its own connection: made, changed and deleted. */
export class Application {
  readonly #bench: Bench;
  #report: Document | undefined;
  #mine: { collection: string; _id: ObjectId }[] = [];

  constructor(bench: Bench) {
    this.#bench = bench;
  }

  async analysis(): Promise<Document> {
    const { source, pool } = this.#bench.world;
    if (!this.#report) {
      const { rows } = await pool.query<{ source_id: string }>(
        `select l.source_id from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id
         where c.source = 'analysis_results' and l.state = 'l' and l.source_id ~ '^[0-9a-f]{24}$' limit 1`,
      );
      this.#report = (await source
        .collection('analysis_results')
        .findOne({ _id: new ObjectId(rows[0]!.source_id) }, { promoteValues: false, promoteLongs: false }))!;
    }
    return { ...this.#report, _id: new ObjectId() };
  }

  async of(collection: string, n: number): Promise<Document> {
    if (collection === 'sessions') return session(n);
    return collection === 'token_usage' ? usage(n) : this.analysis();
  }

  async scribble(n: number): Promise<void> {
    const { source } = this.#bench.world;
    for (const collection of written) {
      const documents = [await this.of(collection, n), await this.of(collection, n)];
      await source.collection(collection).insertMany(documents);
      const [changed, deleted] = this.#mine.filter((one) => one.collection === collection);
      if (changed)
        await source.collection(collection).updateOne({ _id: changed._id }, { $set: { updated_at: new Date() } });
      if (deleted) await source.collection(collection).deleteOne({ _id: deleted._id });
      this.#mine = this.#mine.filter((one) => one !== deleted);
      this.#mine.push(...documents.map((one) => ({ collection, _id: one['_id'] as ObjectId })));
    }
  }
}

/** One segment with documents of its own, through all activities of a chunk; a spool that is lost begins it again. */
export function copying(bench: Bench, application: Application): Step {
  let last: Record<string, string | null> = {};
  const copied = ['sessions', 'analysis_results'];
  const mine: Record<string, Document[]> = {};
  let collection = '';
  let segment = 0;
  const attempt = { attempt: 1, runId: 'bench', startedAt: new Date(), heartbeat: () => undefined };
  const progress = { heartbeat: () => undefined, resumeAt: undefined, cancelled: () => false };
  async function copy(resources: Resources): Promise<void> {
    const place = { collection, source: collection };
    const { collectionId } = (await feedsOf(bench.clean)).get(collection)!;
    segment++;
    for (let lost = 0, provoked = bench.provoked; ; lost++) {
      try {
        const order = {
          ...place,
          chunk: 999,
          segment,
          after: last[collection] ?? null,
          upTo: null,
          averageBytes: 300,
          limits: { bytes: 1e7, documents: 100_000 },
        };
        const extracted = await bench.step(
          'extract',
          () => extractSegment(resources, new OpenReads(), order, progress),
          ['SpoolLost'],
        );
        await bench.step(
          'transform',
          () => transformSegment(resources, { ...place, collectionId, extracted, settings: transform }, new Map()),
          ['SpoolLost'],
        );
        const load = { ...place, collectionId, chunk: 999, segment, extracted };
        for (const store of ['mongodb', 'redis'] as const)
          await bench.step(`load ${store}`, () => loadOutside(resources, load, store, () => undefined), ['SpoolLost']);
        await bench.step('load postgres', () => loadPostgres(resources, load, attempt), ['SpoolLost']);
        last[collection] = extracted.lastId;
        return;
      } catch (error) {
        if (bench.provoked > provoked) lost = 0;
        if ((error as { type?: string }).type !== 'SpoolLost' || lost === 4) throw error;
        provoked = bench.provoked;
      }
    }
  }
  return {
    name: 'copy',
    weight: 2,
    goesOn: true,
    disk: diskFaults,
    async before() {
      last = {};
      for (collection of copied) await copy(bench.clean);
    },
    async run(n) {
      for (collection of copied) {
        mine[collection] = [await application.of(collection, n), await application.of(collection, n)];
        await bench.world.source.collection(collection).insertMany(mine[collection]!);
        await copy(bench.faulty);
      }
    },
    async check() {
      for (const [name, documents] of Object.entries(mine)) {
        const ids = documents.map((one) => sourceId(one['_id'] as ObjectId));
        const ledger = await bench.world.rows('select 1 from migration_control.ledger where source_id = any($1)', [
          ids,
        ]);
        if (ledger.length !== documents.length)
          bench.find(`the ledger has ${ledger.length} of ${documents.length} documents of ${name}`);
        const there =
          name === 'sessions'
            ? await bench.world.redis.exists(...documents.map((one) => `session:${one['session_id'] as string}`))
            : await bench.world.target
                .collection('analysis_results_optimized')
                .countDocuments({ _id: { $in: documents.map((one) => one['_id'] as ObjectId) } });
        if (there !== documents.length)
          bench.find(`${name}: ${there} of ${documents.length} documents stand in the target`);
      }
    },
  };
}

/** Reader, lanes and housekeeping as they run in a worker; now and then another takes over from it. */
export function capturing(bench: Bench, application: Application): Step {
  let pump: Pump | undefined;
  const begin = async () => new Pump(bench, bench.faulty, await capture(bench));
  return {
    name: 'capture',
    weight: 3,
    disk: ['full', 'broken', 'short', 'slow'],
    async run(n) {
      if (n % roundsOfWorker === 0) {
        await within(60_000, pump?.stop() ?? Promise.resolve());
        pump = undefined;
      }
      pump ??= await begin();
      await application.scribble(n);
      await until('capture catches up', comingTogether(bench.clean, await nowAtSource(bench.clean)), 90_000);
    },
    check: () => Promise.resolve(),
    async after() {
      await pump?.stop();
    },
  };
}
const roundsOfWorker = 4;

/** Changes that nobody told of, found by comparing every document. */
export function repairing(bench: Bench, application: Application): Step {
  return {
    name: 'repair',
    weight: 2,
    goesOn: true,
    async run(n) {
      await application.scribble(n);
      await bench.step('repair', () =>
        repairGap(bench.faulty, { settings: transform, dryRun: false, deleteMissing: true }, () => undefined),
      );
    },
    check: () => Promise.resolve(),
  };
}

/** An application on the library, its stores and its router over the lines. What it was told is done is in the old system. */
export function dualWriting(bench: Bench, application: Application): Step {
  let router: Router;
  // One for each operation: after a failure one leaves the new system alone for some seconds, and then nothing more would be seen.
  const open = () =>
    DualWriteManager.open({
      source: bench.faulty.source,
      targets: bench.faulty,
      routes: router,
      settings: transform,
    });
  const acknowledged = new Map<string, { collection: string; there: boolean }>();
  return {
    name: 'dual write',
    weight: 2,
    async before() {
      await route(bench.clean, {
        collections: [...bench.clean.mappings.keys()],
        percentage: 0,
        writeMode: 'dual_write',
        reason: 'bench',
      });
      router = await Router.open({ postgres: bench.lines.postgres.url, fenceWaitMs: 20_000 });
    },
    async run(n) {
      for (let i = 0; i < 9; i++) {
        const collection = written[i % written.length]!;
        const document = await application.of(collection, n);
        const _id = document['_id'] as ObjectId;
        const say = (there: boolean) => acknowledged.set(_id.toHexString(), { collection, there });
        // Whoever is told of a failure does not know whether it was written.
        const write = async (work: (on: DualCollection<Document>) => Promise<unknown>): Promise<boolean> => {
          try {
            const manager = await bench.step('opening the library', open);
            await within(90_000, work(manager.collection(collection))).finally(() => manager.close());
            return true;
          } catch (error) {
            if (error instanceof Hanging || error instanceof TypeError || error instanceof RangeError)
              bench.find(`a write ends with ${error.stack}`);
            acknowledged.delete(_id.toHexString());
            return false;
          }
        };
        if (await write((on) => on.insertOne(document))) say(true);
        await write((on) => on.updateOne({ _id }, { $set: { updated_at: new Date() } }));
        if (i % 2 === 0 && (await write((on) => on.deleteOne({ _id })))) say(false);
      }
    },
    async check() {
      for (const [id, { collection, there }] of acknowledged) {
        const found = await bench.world.source.collection(collection).countDocuments({ _id: new ObjectId(id) });
        if (found !== (there ? 1 : 0)) bench.find(`acknowledged, and ${there ? 'missing' : 'still there'}: ${id}`);
      }
      acknowledged.clear();
    },
    async after() {
      await router.close();
    },
  };
}

/** Writes there and back, while an application writes; who moves them has the faulty lines, who serves the others has not. */
export function moving(bench: Bench): Step {
  let pump: Pump;
  let leave: () => Promise<void>;
  let router: Router;
  let manager: DualWriteManager;
  const expected = new Map<string, number>();
  const collections = ['token_usage'];
  const order = { collections, percentage: 100, fenceMs: 4000 };
  const refusals = ['SwitchRefused'];
  async function write(n: number): Promise<void> {
    const document = usage(n);
    const _id = document['_id'] as ObjectId;
    const tokens = n + 1;
    await manager.write<string>(
      'token_usage',
      async (old, session) => (await old.insertOne(document, { session }), 'old'),
      () => [_id],
      async (client) => {
        await client.query(
          `insert into api_usage (source_id, "timestamp", provider, model_name, input_tokens, output_tokens, cost, currency, session_id)
           values ($1, $2, 'deepseek', 'deepseek-chat', $3, 1, 0.5, 'CNY', 'bench')`,
          [_id.toHexString(), document['timestamp'], tokens],
        );
        return 'new';
      },
    );
    expected.set(_id.toHexString(), tokens);
  }
  return {
    name: 'move writes',
    weight: 3,
    goesOn: true,
    async before() {
      leave = announce(bench.clean.postgres);
      pump = new Pump(bench, bench.clean, { ...(await capture(bench)), ...wayBack });
      router = await Router.open({ postgres: bench.world.environment['TARGET_POSTGRES_URL']!, fenceWaitMs: 60_000 });
      manager = await DualWriteManager.open({
        source: bench.clean.source,
        targets: bench.clean,
        routes: router,
        settings: transform,
      });
    },
    async run(n) {
      await bench.step('arm', () => armReverse(bench.faulty, transform));
      const writing = (async () => {
        for (let i = 0; i < 10; i++) {
          await write(n * 100 + i);
          await sleep(30);
        }
      })();
      writing.catch(() => undefined);
      await bench.step('move writes', () => switchToNew(bench.faulty, order), refusals);
      await write(n * 100 + 50);
      await bench.step(
        'move writes back',
        () => switchBack(bench.faulty, { ...order, writeMode: 'dual_write', immediate: false }),
        refusals,
      );
      await writing;
    },
    async check() {
      const [row] = await bench.world.rows<{ write_mode: string }>(
        `select write_mode from migration_control.routing where collection = 'token_usage'`,
      );
      if (row?.write_mode !== 'dual_write') bench.find(`writes are at ${row?.write_mode}`);
      for (const [id, tokens] of expected) {
        const found = await bench.world.source.collection('token_usage').findOne({ _id: new ObjectId(id) });
        if (Number(found?.['input_tokens']) !== tokens)
          bench.find(`acknowledged, and in the old system it is ${found ? JSON.stringify(found) : 'missing'}: ${id}`);
      }
      expected.clear();
      await write(0);
    },
    async after() {
      manager.close();
      await router.close();
      await pump.stop();
      await leave();
    },
  };
}

/** What the new system changed comes to the old one; the appliers have the faulty lines. */
export function bringingBackStep(bench: Bench): Step {
  let pump: Pump;
  let leave: () => Promise<void>;
  const order = { collections: ['token_usage'], percentage: 100, fenceMs: 4000 };
  const expected = new Map<string, number | null>();
  return {
    name: 'bring back',
    weight: 2,
    async before() {
      leave = announce(bench.clean.postgres);
      pump = new Pump(bench, bench.clean, { ...(await capture(bench)), ...wayBack });
      await armReverse(bench.clean, transform);
      await bench.step('move writes', () => switchToNew(bench.clean, order), ['SwitchRefused']);
      await pump.stop();
      pump = new Pump(bench, bench.clean, await capture(bench));
    },
    async run(n) {
      const { pool } = bench.world;
      const ids = [new ObjectId().toHexString(), new ObjectId().toHexString()];
      for (const id of ids)
        await pool.query(
          `insert into api_usage (source_id, "timestamp", provider, model_name, input_tokens, output_tokens, cost, currency, session_id)
           values ($1, now(), 'deepseek', 'deepseek-chat', $2, 1, 0.5, 'CNY', 'bench')`,
          [id, n + 1],
        );
      const [changed, deleted] = [...expected].filter(([, tokens]) => tokens !== null).map(([id]) => id);
      if (changed) await pool.query('update api_usage set input_tokens = $2 where source_id = $1', [changed, n + 7]);
      if (deleted) await pool.query('delete from api_usage where source_id = $1', [deleted]);
      for (const id of ids) expected.set(id, n + 1);
      if (changed) expected.set(changed, n + 7);
      if (deleted) expected.set(deleted, null);
      const back = new Pump(bench, bench.faulty, wayBack);
      try {
        await until('everything is brought back', bringingBack(bench.clean.postgres));
      } finally {
        await within(60_000, back.stop());
      }
    },
    async check() {
      for (const [id, tokens] of expected) {
        const found = await bench.world.source.collection('token_usage').findOne({ _id: new ObjectId(id) });
        if ((found ? Number(found['input_tokens']) : null) !== tokens)
          bench.find(`in the old system ${id} is ${found ? String(found['input_tokens']) : 'missing'}, not ${tokens}`);
      }
    },
    async after() {
      const back = new Pump(bench, bench.clean, wayBack);
      await bench.step(
        'move writes back',
        () => switchBack(bench.clean, { ...order, writeMode: 'dual_write', immediate: false }),
        ['SwitchRefused'],
      );
      await back.stop();
      await pump.stop();
      await leave();
    },
  };
}

/** A checkpoint, and the same put back. */
export function restoring(bench: Bench, application: Application): Step {
  const snapshotDirectory = 'snapshots';
  return {
    name: 'checkpoint and restore',
    weight: 3,
    // A snapshot that is damaged is refused, and stays so: another one is restored.
    disk: ['full', 'broken', 'short', 'slow'],
    async before() {
      await route(bench.clean, {
        collections: [...bench.clean.mappings.keys()],
        percentage: 0,
        writeMode: 'old',
        reason: 'bench',
      });
      await catchUp(bench);
    },
    async run(n) {
      const { name: migration } = bench.world;
      const resources = bench.faulty;
      const say = () => undefined;
      const order = { migration, name: `case-${n}`, snapshotDirectory };
      await bench.step('checkpoint', () =>
        createSnapshot(resources, { ...order, workflow: null, run: `run ${n}` }, say),
      );
      await application.scribble(n);
      const verified = await bench.step('verify', () => verifySnapshot(resources, order, say));
      await bench.step('begin', () => beginRestore(resources, verified));
      await bench.step('documents', () => restoreDocuments(resources, verified, say));
      await bench.step('keys', () => restoreKeys(resources, verified, say));
      await bench.step('files', () => restoreFiles(resources, verified));
      await bench.step('rows', () => restoreRows(resources, verified, say));
      await bench.step('finish', () => finishRestore(resources, verified));
    },
    check: () => Promise.resolve(),
  };
}
