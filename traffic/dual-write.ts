// DualWriteManager: the old system first, its answer is the answer; the new one second, as a hint. Change capture is the truth.
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientSession, Collection, Db, Document, MongoClient } from 'mongodb';
import type pg from 'pg';
import { feedsOf, type ChangeSettings, type Feed } from '../activities/apply.ts';
import type { Targets } from '../activities/outside.ts';
import { requireKey } from '../control/sealing.ts';
import { KnownFailure } from '../core/failures.ts';
import { sourceId } from '../core/identity.ts';
import type { Route } from '../core/state.ts';
import { isClosed, validationOf } from '../stores/mongodb/close.ts';
import { DualCollection } from './dual-collection.ts';
import type { TrafficMetrics } from './metrics.ts';
import { writeNew } from './new-write.ts';
import type { Admission } from './router.ts';
import { Ledger, type Counters } from './second-write.ts';

/** Where the route of a collection comes from: the application's router. */
export interface Routes {
  routeOf(collection: string): Route;
  /** Lets a write begin, or keeps it waiting while writes are being moved. */
  admit(collection: string): Promise<Admission>;
}

export interface DualWriteOptions {
  readonly source: { readonly client: MongoClient; readonly db: Db };
  readonly targets: Targets;
  readonly routes: Routes;
  readonly settings: ChangeSettings;
  /** Share of writes compared with the old system some time later. Default 0.01. */
  readonly sampleRate?: number;
  /** ms that the second write may take before it is left to capture. Default 2000. */
  readonly timeoutMs?: number;
  /** Told of every second write that did not land: what, why, never the document. */
  readonly onFailure?: (failure: SecondWriteFailure) => void;
  /** Where writes are counted for the migration's decisions: `RoutedReads.metrics`. */
  readonly metrics?: Pick<TrafficMetrics, 'countWrites'>;
}

/** `in-flight`: capture brings it; `expected`: a rule set the document aside, or a newer version was there; `defect`: look at it. */
export type FailureClass = 'in-flight' | 'expected' | 'defect';

export interface SecondWriteFailure {
  readonly collection: string;
  readonly class: FailureClass;
  readonly reason: string;
  readonly documents: number;
}

export class DualWriteManager {
  readonly #source: DualWriteOptions['source'];
  readonly #routes: Routes;
  readonly #second: Ledger;
  readonly #metrics: DualWriteOptions['metrics'];
  readonly #feeds: ReadonlyMap<string, Feed>;
  readonly #targets: Targets;
  #waitedMs = 0;

  private constructor(options: DualWriteOptions, feeds: ReadonlyMap<string, Feed>) {
    this.#source = options.source;
    this.#routes = options.routes;
    this.#metrics = options.metrics;
    this.#feeds = feeds;
    this.#targets = options.targets;
    this.#second = new Ledger(options);
  }

  /**
   * Reads which collections are captured; throws a KnownFailure when the control schema cannot be read, and a VaultError where this process does
   * not have the migration's key.
   */
  static async open(options: DualWriteOptions): Promise<DualWriteManager> {
    await requireKey(options.targets.postgres);
    return new DualWriteManager(options, await feedsOf(options.targets));
  }

  /** The collection's operations, each written to both sides as `routing` has it now. */
  collection<T extends Document = Document>(name: string): DualCollection<T> {
    return new DualCollection<T>(this, this.#source.db.collection<T>(name));
  }

  /**
   * While the old system is authoritative: runs `first` on it: what it throws is thrown, what it returns is returned. Then, if the collection
   * is written to both, the documents that `touched` names are read back and applied to the new system. A failure of that is counted, and
   * never thrown. Once the new system is authoritative: runs `onNew` in a transaction of PostgreSQL that only commits if that is still so;
   * the reverse sync brings its changes to the old system. Throws NewSystemAuthoritative where there is no `onNew`; nothing was written then.
   */
  async write<R>(
    collection: string,
    first: (old: Collection, session: ClientSession) => Promise<R>,
    touched: (result: R) => readonly unknown[],
    onNew?: (client: pg.ClientBase) => Promise<R>,
  ): Promise<R> {
    const feed = this.#feeds.get(collection);
    for (;;) {
      const admission = feed && (await this.#admit(feed));
      try {
        if (!feed || admission!.route.writeMode !== 'new_system')
          return await this.#writeOld(collection, feed, admission?.route, first, touched);
        if (!onNew) throw newSystemOnly(collection);
        const { collection: mapping } = feed.mapping;
        const written = await writeNew(this.#targets.postgres, mapping, admission!.route.epoch, onNew).catch(
          (error: unknown) => {
            this.#count(feed, 'new', 1);
            throw error;
          },
        );
        if (written) {
          this.#count(feed, 'new', 0);
          return written.result;
        }
        // The routing has changed since it was read here; nothing was written.
        await sleep(5);
      } finally {
        admission?.done();
      }
    }
  }

  /**
   * The first step of `write`, for a caller that runs the operation itself: where it goes, and `done` for when it has ended. undefined: the
   * collection does not take part, and is the old system's. Throws StoreBusy like the router.
   */
  async begin(collection: string): Promise<(Admission & { readonly mapping: string }) | undefined> {
    const feed = this.#feeds.get(collection);
    return feed && { ...(await this.#admit(feed)), mapping: feed.mapping.collection };
  }

  /** The second write of documents that the old system has, by source id, under the epoch they were admitted in. Failures are counted. */
  async secondWrite(collection: string, ids: readonly string[], epoch: number): Promise<void> {
    const feed = this.#feeds.get(collection);
    if (feed && ids.length > 0) await this.#second.write(feed, ids, epoch);
  }

  async #admit(feed: Feed): Promise<Admission> {
    const admission = await this.#routes.admit(feed.mapping.collection);
    this.#waitedMs = Math.max(this.#waitedMs, admission.waitedMs);
    if (!admission.isUncertain || admission.route.writeMode === 'new_system') return admission;
    // The routing cannot be read, and may have changed since it was: the old system itself says whether it still counts.
    try {
      if (!isClosed(await validationOf(this.#source.db, feed.source))) return admission;
      throw new KnownFailure(
        'StoreBusy',
        `Writes of ${feed.source} are being moved or have moved, and PostgreSQL, which says where they go, cannot be reached. Nothing was written; try again when it is back.`,
      );
    } catch (error) {
      admission.done();
      throw error;
    }
  }

  async #writeOld<R>(
    collection: string,
    feed: Feed | undefined,
    route: Route | undefined,
    first: (old: Collection, session: ClientSession) => Promise<R>,
    touched: (result: R) => readonly unknown[],
  ): Promise<R> {
    const session = this.#source.client.startSession({ causalConsistency: true });
    try {
      const result = await first(this.#source.db.collection(collection), session).catch((error: unknown) => {
        this.#count(feed, 'old', 1);
        throw error;
      });
      this.#count(feed, 'old', 0);
      if (feed && route && route.writeMode !== 'old') {
        const ids = [...new Map(touched(result).map((id) => [sourceId(id), id])).keys()];
        if (ids.length > 0) await this.#second.write(feed, ids, route.epoch);
      }
      return result;
    } finally {
      await session.endSession();
    }
  }

  #count(feed: Feed | undefined, side: 'old' | 'new', failed: 0 | 1): void {
    if (feed) this.#metrics?.countWrites(feed.mapping.collection, side, 1, failed);
  }

  /** Whether ids have to be known before an operation that does not return them. */
  isOn(collection: string): boolean {
    const feed = this.#feeds.get(collection);
    return feed !== undefined && this.#routes.routeOf(feed.mapping.collection).writeMode === 'dual_write';
  }

  /** The longest that a write of this process waited at a fence, ms. */
  get longestWaitMs(): number {
    return this.#waitedMs;
  }

  get counters(): Counters {
    return this.#second.counters;
  }

  /** Compares the sampled writes and those that failed, as far as they are due. */
  validate(): Promise<Counters> {
    return this.#second.validate();
  }

  close(): void {
    this.#second.close();
  }
}

const newSystemOnly = (collection: string): KnownFailure =>
  new KnownFailure(
    'NewSystemAuthoritative',
    `Writes of ${collection} go to the new system now, and this one has no form for it: give \`write\` its fourth argument (docs/routing.md). Nothing was written.`,
  );
