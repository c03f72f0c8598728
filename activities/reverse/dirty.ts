// The last comparison before writes move: what was written last, each document against what the ledger says of it.
import { KnownFailure } from '../../core/failures.ts';
import { idsKnown } from '../../control/long-keys.ts';
import { clusterTimeOf, readDocuments } from '../../stores/mongodb/source.ts';
import { name, query } from '../../stores/postgres/connection.ts';
import { feedsOf, type Feed } from '../apply.ts';
import type { Resources } from '../resources.ts';
import { differs } from './validate.ts';

/** What was written this long before the fence is compared once more, s. */
const dirtySeconds = 10;
const dirtyMost = 2000;

/** The documents written last, each compared with the ledger once more. Throws SwitchRefused where one differs. Returns how many were compared. */
export async function verifyDirty(resources: Resources, collections: readonly string[]): Promise<number> {
  const feeds = [...(await feedsOf(resources)).values()].filter((feed) =>
    collections.includes(feed.mapping.collection),
  );
  // Versions are cluster times, and only another of the same clock can be compared with them: PostgreSQL's may be ahead.
  const now = await clusterTimeOf(resources.source.db);
  // At once: writers wait.
  const compared = await Promise.all(feeds.map((feed) => verifyDirtyOf(resources, feed, now)));
  return compared.reduce((sum, count) => sum + count, 0);
}

async function verifyDirtyOf({ postgres, source }: Resources, feed: Feed, now: bigint): Promise<number> {
  const rows = await query<{ source_id: string; source_digest: string; deleted: boolean }>(
    postgres,
    'reading what was written last',
    `select source_id, source_digest, deleted from migration_control.${name(`ledger_${feed.collectionId}`)}
     where version >= $1 and version > 0 and origin is not null order by version desc limit ${dirtyMost}`,
    [(now - (BigInt(dirtySeconds) << 32n)).toString()],
  );
  if (rows.length === 0) return 0;
  const ids = await idsKnown(
    postgres,
    rows.map((row) => row.source_id),
  );
  const { documents } = await readDocuments(source.client, source.db, feed.source, ids);
  const differing = rows.filter((row) => differs(row, documents.get(row.source_id)));
  if (differing.length > 0)
    throw new KnownFailure(
      'SwitchRefused',
      `${differing.length} of the documents of ${feed.source} written last differ between the two systems. Nothing was moved.`,
    );
  return rows.length;
}
