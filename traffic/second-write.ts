// The second write, its failures and what became of them: applied under the same guard as everything, counted, and looked at again.
import { readAgain } from '../activities/capture/redo.ts';
import { applyChanges, type ChangeSettings, type Feed } from '../activities/apply.ts';
import { inForce } from '../activities/policy.ts';
import { digestOf } from '../activities/shape.ts';
import { holdRoutes } from '../control/routing.ts';
import { answered, ask, closed, type Circuit } from '../core/circuit.ts';
import { KnownFailure, type FailureType } from '../core/failures.ts';
import { inTransactionWithin, query, TookTooLong } from '../stores/postgres/connection.ts';
import type { DualWriteOptions, FailureClass } from './dual-write.ts';

export interface Counters {
  /** Documents written a second time. */
  readonly second: number;
  readonly failed: Readonly<Record<FailureClass, number>>;
  /** Documents whose second write had failed and that are equal by now. */
  readonly repaired: number;
  readonly sampled: { readonly equal: number; readonly pending: number; readonly unequal: number };
}

interface Pending {
  readonly feed: Feed;
  readonly id: string;
  readonly since: number;
  readonly failed: boolean;
}

/** How long a sampled write may differ: longer than capture is ever behind in good order, ms. */
const graceMs = 15_000;
const pendingKept = 10_000;
const policyMs = 2000;

export class Ledger {
  readonly #options: DualWriteOptions;
  readonly #timer: NodeJS.Timeout;
  #pending = new Map<string, Pending>();
  /** By mapping: each writes to stores of its own. */
  readonly #circuits = new Map<string, Circuit>();
  #second = 0;
  #failed: Record<FailureClass, number> = { 'in-flight': 0, expected: 0, defect: 0 };
  #repaired = 0;
  #equal = 0;
  #unequal = 0;
  #current: ChangeSettings | undefined;
  #policyAt = 0;

  constructor(options: DualWriteOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.validate().catch(() => undefined), 2000);
    this.#timer.unref();
  }

  /** A writer that knows an older epoch is refused in the transaction that would have applied its write. */
  async write(feed: Feed, ids: readonly string[], epoch: number): Promise<void> {
    const { source, targets, timeoutMs = 2000, sampleRate = 0.01, metrics } = this.#options;
    const count = (failed: number) => metrics?.countWrites(feed.mapping.collection, 'new', ids.length, failed);
    const { collection } = feed.mapping;
    const asked = ask(this.#circuits.get(collection) ?? closed, performance.now(), awayMs);
    this.#circuits.set(collection, asked.next);
    if (!asked.may) {
      count(ids.length);
      return this.#note(feed, ids, 'in-flight', 'a store of the new system is away: left to change capture');
    }
    try {
      const totals = await inTransactionWithin(targets.postgres, 'the second write', timeoutMs, async (client) => {
        const settings = await this.#policy();
        await client.query(`select set_config('statement_timeout', $1, true)`, [String(timeoutMs)]);
        await client.query(holdRoutes);
        const { rowCount } = await client.query(
          'select 1 from migration_control.routing where collection = $1 and epoch = $2',
          [feed.mapping.collection, epoch],
        );
        if (rowCount !== 1)
          throw new KnownFailure(
            'StaleEpoch',
            `the routing of ${feed.mapping.collection} has changed since it was read`,
          );
        const changes = await readAgain({ source, postgres: targets.postgres }, feed, ids);
        return applyChanges(targets, client, changes, settings, { origin: 'second write' });
      });
      count(0);
      this.#circuits.set(collection, closed);
      this.#second += totals.applied;
      const aside = totals.quarantined + totals.clashes.length;
      if (aside > 0) this.#note(feed, [], 'expected', 'a rule of the mapping sets the document aside', aside);
      for (const id of ids) if (Math.random() < sampleRate) this.#watch(feed, id, false);
    } catch (error) {
      count(ids.length);
      this.#circuits.set(collection, answered(isAway(error), performance.now(), awayMs));
      this.#note(feed, ids, classOf(error), error instanceof Error ? error.message.split('\n', 1)[0]! : 'unknown');
    }
  }

  /** Looks at documents whose second write failed, and at the sampled ones: equal by now, or different for too long. */
  async validate(): Promise<Counters> {
    const due = [...this.#pending.values()].slice(0, 500);
    for (const feed of new Set(due.map((one) => one.feed))) {
      const own = due.filter((one) => one.feed === feed);
      const equal = await this.#equalOf(
        feed,
        own.map((one) => one.id),
      );
      for (const one of own) {
        const over = Date.now() - one.since > graceMs;
        if (!equal.has(one.id) && !over) continue;
        this.#pending.delete(`${feed.collectionId}\t${one.id}`);
        if (equal.has(one.id)) {
          if (one.failed) this.#repaired++;
          else this.#equal++;
        } else {
          this.#unequal++;
          this.#tell(feed, 'defect', 'a document differs from the old system for too long', 1);
        }
      }
    }
    return this.counters;
  }

  async #equalOf(feed: Feed, ids: readonly string[]): Promise<Set<string>> {
    const { source, targets } = this.#options;
    const now = await readAgain({ source, postgres: targets.postgres }, feed, ids);
    const rows = await query<{ source_id: string; source_digest: string; deleted: boolean }>(
      this.#options.targets.postgres,
      'comparing sampled writes',
      'select source_id, source_digest, deleted from migration_control.ledger where collection_id = $1 and source_id = any($2)',
      [feed.collectionId, ids],
    );
    const known = new Map(rows.filter((row) => !row.deleted).map((row) => [row.source_id, BigInt(row.source_digest)]));
    const same = now.filter(({ id, bytes }) => (bytes ? known.get(id) === digestOf(bytes) : !known.has(id)));
    return new Set(same.map((one) => one.id));
  }

  /** What is in force may change while the application runs. */
  async #policy(): Promise<ChangeSettings> {
    const { settings, targets } = this.#options;
    if (Date.now() - this.#policyAt > policyMs) {
      this.#current = await inForce(targets.postgres, settings);
      this.#policyAt = Date.now();
    }
    return this.#current ?? settings;
  }

  get counters(): Counters {
    const pending = [...this.#pending.values()].filter((one) => !one.failed).length;
    return {
      second: this.#second,
      failed: { ...this.#failed },
      repaired: this.#repaired,
      sampled: { equal: this.#equal, pending, unequal: this.#unequal },
    };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #note(feed: Feed, ids: readonly string[], kind: FailureClass, reason: string, documents = ids.length): void {
    this.#failed[kind] += documents;
    for (const id of ids) this.#watch(feed, id, true);
    this.#tell(feed, kind, reason, documents);
  }

  #tell(feed: Feed, kind: FailureClass, reason: string, documents: number): void {
    this.#options.onFailure?.({ collection: feed.mapping.collection, class: kind, reason, documents });
  }

  /** Failures are always watched; samples only as long as there is room. */
  #watch(feed: Feed, id: string, failed: boolean): void {
    const key = `${feed.collectionId}\t${id}`;
    if (failed || this.#pending.size < pendingKept) this.#pending.set(key, { feed, id, since: Date.now(), failed });
  }
}

function classOf(error: unknown): FailureClass {
  return error instanceof KnownFailure && comesByCapture.has(error.type) ? 'in-flight' : 'defect';
}

/** How long a store that did not answer is left alone, ms. */
const awayMs = 5000;
const isAway = (error: unknown): boolean =>
  error instanceof TookTooLong || (error instanceof KnownFailure && error.type === 'StoreUnreachable');

const comesByCapture = new Set<FailureType>(['StoreUnreachable', 'StoreBusy', 'StaleEpoch']);
