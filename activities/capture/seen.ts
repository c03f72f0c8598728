// The keys that a scan has met, and the proof that they are all there before anything is deleted because it is not among them.
import { createHash, randomUUID } from 'node:crypto';
import { KnownFailure } from '../../core/failures.ts';
import { query } from '../../stores/postgres/connection.ts';
import type { Feed } from '../apply.ts';
import type { Resources } from '../resources.ts';

/** Kept in a table of the schema, so that nothing hangs on one connection; counted and digested in this process as well. */
export class SeenKeys {
  readonly #postgres: Resources['postgres'];
  readonly #feed: Feed;
  readonly #run = randomUUID();
  #keys = 0;
  #digest = 0n;

  private constructor(postgres: Resources['postgres'], feed: Feed) {
    this.#postgres = postgres;
    this.#feed = feed;
  }

  /** Takes the list of an attempt that broke off away: should that one still be at work, its proof fails. */
  static async begin(postgres: Resources['postgres'], feed: Feed): Promise<SeenKeys> {
    const seen = new SeenKeys(postgres, feed);
    await seen.forget();
    return seen;
  }

  async forget(): Promise<void> {
    await query(
      this.#postgres,
      'forgetting what a repair has met',
      'delete from migration_control.repair_seen where collection_id = $1',
      [this.#feed.collectionId],
    );
  }

  async add(ids: readonly string[]): Promise<void> {
    await query(
      this.#postgres,
      'keeping what the repair has met',
      'insert into migration_control.repair_seen (run, collection_id, source_id) select $1, $2, unnest($3::text[])',
      [this.#run, this.#feed.collectionId, ids],
    );
    this.#keys += ids.length;
    for (const id of ids) this.#digest += digestOf(id);
  }

  /** What the ledger has as old as the scan or older, and the scan has not met. In one statement with the proof that the list is whole. */
  async missing(before: bigint): Promise<string[]> {
    const [row] = await query<{ keys: string; digest: string; gone: string[] }>(
      this.#postgres,
      'looking for documents that are gone',
      `select count(*) as keys, coalesce(sum(('x' || left(encode(sha256(convert_to(source_id, 'UTF8')), 'hex'), 15))::bit(60)::bigint), 0)::text as digest,
         array(select l.source_id from migration_control.ledger l where l.collection_id = $2 and not l.deleted and l.version <= $3
           and not exists (select 1 from migration_control.repair_seen s where s.run = $1 and s.source_id = l.source_id)) as gone
       from migration_control.repair_seen where run = $1`,
      [this.#run, this.#feed.collectionId, before.toString()],
    );
    if (Number(row!.keys) !== this.#keys || BigInt(row!.digest) !== this.#digest)
      throw new KnownFailure(
        'StoreBusy',
        `The list of what the scan of ${this.#feed.source} has met is not whole (${row!.keys} keys of ${this.#keys}), so that nothing is deleted by it; the scan begins anew.`,
      );
    return row!.gone;
  }
}

/** 60 bits, so that the sum of the statement above is the same. */
const digestOf = (id: string): bigint =>
  BigInt(`0x${createHash('sha256').update(id, 'utf8').digest('hex').slice(0, 15)}`);
