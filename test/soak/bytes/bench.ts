// A migration's activities in this process, on real stores and without Temporal: copied, captured, verified, repaired, put back, and brought back.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { applyLane } from '../../../activities/capture/lane.ts';
import { openCapture } from '../../../activities/capture/open.ts';
import { readChanges } from '../../../activities/capture/read.ts';
import { Slice } from '../../../activities/capture/slice.ts';
import { tendTargets } from '../../../activities/capture/tend.ts';
import { createSnapshot } from '../../../activities/checkpoint/create.ts';
import { restoreDocuments, restoreFiles, restoreKeys, restoreRows } from '../../../activities/checkpoint/put-back.ts';
import { beginRestore, finishRestore, verifySnapshot } from '../../../activities/checkpoint/restore.ts';
import { electUnique, losersOf } from '../../../activities/elect.ts';
import { extractSegment, OpenReads } from '../../../activities/extract.ts';
import { loadOutside, loadPostgres, type LoadOrder } from '../../../activities/load.ts';
import { retryQuarantined } from '../../../activities/quarantine.ts';
import type { Resources } from '../../../activities/resources.ts';
import { applyReverse } from '../../../activities/reverse/apply.ts';
import { armReverse, disarmReverse } from '../../../activities/reverse/arm.ts';
import { readReverseChanges } from '../../../activities/reverse/read.ts';
import { makeMongo, makePostgres, settleCollection } from '../../../activities/targets.ts';
import { transformSegment } from '../../../activities/transform.ts';
import { validateCollection } from '../../../activities/validate.ts';
import { verifyActivities } from '../../../activities/verify/index.ts';
import { makeControlSchema } from '../../../control/schema.ts';
import { differencesOf, type Difference } from '../../../control/verification-report.ts';
import { checkNames } from '../../../core/checks.ts';
import { KnownFailure } from '../../../core/failures.ts';
import { readSettings, type Settings } from '../../../core/settings.ts';
import { collectionNames } from '../../../stores/mongodb/schema.ts';
import { World } from '../../support/world.ts';
import { settings } from './alone.ts';
import { arrived, boundMs, comeBack, type Machine } from './machine.ts';

const say = () => undefined;
export class Bench implements Machine {
  readonly world: World;
  readonly resources: Resources;
  readonly settings: Settings;
  /** Errors that a loop ended with: a lane that stops is a finding, whatever the error. */
  readonly stopped: string[] = [];
  #over = new AbortController();
  #loops: Promise<unknown>[] = [];
  #segment = 0;

  private constructor(world: World, resources: Resources, own: Settings) {
    this.world = world;
    this.resources = resources;
    this.settings = own;
  }

  /** Schema and targets are there, capture is open, nothing runs. */
  static async open(): Promise<Bench> {
    const world = await World.open('bytes_bench');
    const resources = await world.resources('bench');
    const read = readSettings({
      quarantineBudget: 1,
      captureLanes: 2,
      configurationDirectory: `${world.home}/configuration`,
    });
    if ('problems' in read) throw new Error(read.problems.join());
    await makeControlSchema(resources.postgres, world.name);
    const all = [...resources.mappings.keys()];
    await makePostgres(resources, all);
    await makeMongo(resources, all);
    await openCapture(resources, read.settings);
    return new Bench(world, resources, read.settings);
  }

  async copy(): Promise<void> {
    const { resources } = this;
    const there = new Set(await collectionNames(resources.source.db));
    const mappings = [...resources.mappings.values()].sort((a, b) => a.after.length - b.after.length);
    for (const mapping of mappings) {
      const enrolled = await this.world.rows<{ id: number; source: string }>(
        'select id, source from migration_control.collections where mapping = $1 order by id',
        [mapping.collection],
      );
      const ids = new Map(enrolled.filter((one) => there.has(one.source)).map(({ id, source }) => [source, id]));
      await electUnique(resources, mapping.collection, ids, { ...settings, asOf: Date.now() }, say);
      for (const [source, id] of ids) await this.#copySource(mapping.collection, source, id);
      await settleCollection(resources, mapping.collection, this.settings.configurationDirectory);
    }
  }

  async #copySource(collection: string, source: string, collectionId: number): Promise<void> {
    const { resources } = this;
    const place = { collection, source };
    const reads = new OpenReads();
    const order = {
      ...place,
      chunk: 0,
      segment: ++this.#segment,
      after: null,
      upTo: null,
      averageBytes: 2000,
      limits: { bytes: 256 * 1024 * 1024, documents: 100_000 },
    };
    const progress = { heartbeat: say, resumeAt: undefined, cancelled: () => false };
    const extracted = await extractSegment(resources, reads, order, progress);
    await reads.close();
    await transformSegment(
      resources,
      { ...place, collectionId, extracted, settings },
      await losersOf(resources, collectionId),
    );
    const load: LoadOrder = { ...place, collectionId, chunk: 0, segment: this.#segment, extracted };
    for (const store of ['mongodb', 'redis'] as const)
      if (resources.mappings.get(collection)!.targets.some((target) => target.store === store))
        await loadOutside(resources, load, store, say);
    await loadPostgres(resources, load, { attempt: 1, runId: 'bench', startedAt: new Date(), heartbeat: say });
  }

  /** Reader, lanes and housekeeping, begun again when they end, as their workflow does. */
  run(): Promise<void> {
    this.#over = new AbortController();
    const { signal } = this.#over;
    const slice = () => new Slice(600_000, signal, say);
    const keep = async (what: string, work: () => Promise<unknown>) => {
      while (!signal.aborted) {
        await work().catch((error: Error) => this.stopped.push(`${what}: ${error.stack ?? error.message}`));
        await sleep(100);
      }
    };
    const tending = { ...settings, clashSeconds: 1, configurationDirectory: this.settings.configurationDirectory };
    this.#loops = [
      keep('reader', () => readChanges(this.resources, slice())),
      ...Array.from({ length: this.settings.captureLanes }, (_, lane) =>
        keep(`lane ${lane}`, () => applyLane(this.resources, lane, settings, slice())),
      ),
      keep('housekeeping', () => tendTargets(this.resources, tending, slice())),
    ];
    return Promise.resolve();
  }

  async pause(): Promise<void> {
    this.#over.abort();
    await Promise.all(this.#loops);
  }

  async caughtUp(): Promise<string[]> {
    return [...(await arrived(this)), ...this.stopped.splice(0)];
  }

  /** What an every-row verification says; with `repair`, after it has written what differs again. */
  async verify(repair = false): Promise<Difference[]> {
    const asActivity = <T>(work: () => Promise<T>): Promise<T> =>
      new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') }).run(work) as Promise<T>;
    const steps = verifyActivities(this.resources);
    const order = { ...settings, configurationDirectory: this.settings.configurationDirectory, rowsPerSecond: 0 };
    const { run, generation } = await asActivity(() => steps.openVerification(order, true));
    const settle = async (since: number) => {
      const scanned = await asActivity(() => steps.verifyScans(order, run, 120_000));
      const settled = await asActivity(() => steps.verifySettle(order, run, since, 120_000));
      if (!scanned.done || !settled.done || settled.open > 0)
        throw new Error(`the verification has not come to an end, ${settled.open} are open`);
    };
    await settle(generation);
    if (repair) {
      await asActivity(() => steps.verifyRepair(order, run, 120_000));
      await settle(await asActivity(() => steps.generationOf(run)));
    }
    await asActivity(() => steps.closeVerification(order, run));
    return differencesOf(this.resources.postgres, run, 20);
  }

  async validate(): Promise<string[]> {
    const found: string[] = [];
    for (const collection of this.resources.mappings.keys()) {
      const order = {
        collection,
        batchId: randomUUID(),
        settings: this.settings,
        transform: { ...settings, asOf: Date.now() },
        // How fast queries are is no matter of bytes.
        checks: checkNames.filter((check) => check !== 'performance_validation'),
      };
      const { individual_results: results } = await validateCollection(this.resources, order, say);
      for (const [check, result] of Object.entries(results))
        if (!['passed', 'skipped'].includes(result.status))
          found.push(`${check} of ${collection}: ${JSON.stringify(result).slice(0, 3000)}`);
    }
    return found;
  }

  retry() {
    return retryQuarantined(this.resources, { run: randomUUID(), dryRun: false }, () => false);
  }

  async snapshot(name: string): Promise<void> {
    const order = { migration: this.world.name, name, snapshotDirectory: 'snapshots' };
    await createSnapshot(this.resources, { ...order, workflow: null, run: randomUUID() }, say);
  }

  async restore(name: string): Promise<void> {
    const order = { migration: this.world.name, name, snapshotDirectory: 'snapshots' };
    const verified = await verifySnapshot(this.resources, order, say);
    await beginRestore(this.resources, verified);
    await restoreDocuments(this.resources, verified, say);
    await restoreKeys(this.resources, verified, say);
    await restoreFiles(this.resources, verified);
    await restoreRows(this.resources, verified, say);
    await finishRestore(this.resources, verified);
  }

  /** The new system is authoritative from here on. */
  async moveWrites(): Promise<void> {
    await this.world.rows(
      `insert into migration_control.routing (collection, percentage, write_mode, epoch)
       select distinct mapping, 100, 'new_system', 1 from migration_control.collections
       on conflict (collection) do update set write_mode = 'new_system', percentage = 100, epoch = routing.epoch + 1`,
    );
    await patiently(() => armReverse(this.resources, settings));
  }

  /** Everything that the new system was given has been brought back, or set aside with its reason. */
  async broughtBack(): Promise<string[]> {
    const over = new AbortController();
    const slice = new Slice(2 * boundMs, over.signal, say);
    const wrong: string[] = [];
    const fails = (error: Error) => void wrong.push(`the way back stops: ${error.stack ?? error.message}`);
    const running = [
      readReverseChanges(this.resources, slice).catch(fails),
      applyReverse(this.resources, settings, slice).catch(fails),
    ];
    const late = await comeBack(this);
    over.abort();
    await Promise.all(running);
    return [...late, ...wrong];
  }

  async moveBack(): Promise<void> {
    await this.world.rows(`update migration_control.routing set write_mode = 'old', percentage = 0, epoch = epoch + 1`);
    await patiently(() => disarmReverse(this.resources));
  }

  async close(): Promise<void> {
    await this.pause();
    await this.resources.close();
    await this.world.close();
  }
}

/** As Temporal does: lanes hold the routes now and then. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++)
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof KnownFailure) || error.type !== 'StoreBusy' || tries === 20) throw error;
      await sleep(200);
    }
}
