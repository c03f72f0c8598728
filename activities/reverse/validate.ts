// Whether a way back has succeeded: the old system holds, byte for byte, what the ledger says it holds, in every document written back.
import { setTimeout as sleep } from 'node:timers/promises';
import { heartbeat } from '@temporalio/activity';
import { KnownFailure } from '../../core/failures.ts';
import { setAsideOf } from '../../control/reverse.ts';
import { readOp } from '../../core/guard.ts';
import { idsKnown } from '../../control/long-keys.ts';
import { readDocuments } from '../../stores/mongodb/source.ts';
import { query } from '../../stores/postgres/connection.ts';
import { feedsOf, type Feed } from '../apply.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { digestOf } from '../shape.ts';

const atOnce = 500;
const patienceMs = 30_000;

/** Compares every document that was written back since the way back was anchored. Documents that change meanwhile are looked at again. Fails while changes are set aside. */
export async function validateRollback(
  resources: Resources,
  collections: readonly string[],
): Promise<{ compared: number }> {
  killPoint('rollback.before-validation');
  const [anchor] = await query<{ seconds: string }>(
    resources.postgres,
    'reading the anchor',
    'select extract(epoch from anchored_at)::bigint as seconds from migration_control.reverse_position',
  );
  if (!anchor) return { compared: 0 };
  await refuseSetAside(resources, collections);
  let compared = 0;
  for (const feed of (await feedsOf(resources)).values()) {
    if (!collections.includes(feed.mapping.collection)) continue;
    for (let after = ''; ;) {
      const ids = await writtenBack(resources, feed, BigInt(anchor.seconds) << 32n, after);
      if (ids.length === 0) break;
      heartbeat();
      let differing = await differingOf(resources, feed, ids);
      for (const until = Date.now() + patienceMs; differing.length > 0 && Date.now() < until;) {
        await sleep(200);
        differing = await differingOf(resources, feed, differing);
      }
      if (differing.length > 0)
        throw new KnownFailure(
          'ValidationFailed',
          `${differing.length} documents of ${feed.source} are not in the old system as the new one had them. \`causeway reverse status\` tells of conflicts and late writes, \`causeway verify\` names the documents.`,
        );
      compared += ids.length;
      after = ids.at(-1)!;
    }
  }
  return { compared };
}

/** Where the new system still has the writes nothing is lost yet: the way back stays. */
async function refuseSetAside({ postgres }: Resources, collections: readonly string[]): Promise<void> {
  const aside = (await setAsideOf(postgres)).filter(
    ({ moved, collection }) => !moved && collections.includes(collection),
  );
  if (aside.length === 0) return;
  const named = aside.map(({ collection, documents }) => `${documents} of ${collection}`).join(', ');
  throw new KnownFailure(
    'ValidationFailed',
    `Changes of the new system are not in the old one, which did not take them: ${named}. \`causeway reverse status\` lists them. Correct the cause, then \`causeway reverse retry\`; or leave them in the new system with \`causeway reverse accept --reason WHY\`. Then go on with the rollback.`,
  );
}

async function writtenBack(resources: Resources, feed: Feed, since: bigint, after: string): Promise<string[]> {
  const rows = await query<{ source_id: string }>(
    resources.postgres,
    'reading what was written back',
    `select source_id from migration_control.ledger where collection_id = $1 and version >= $2 and op_index = ${readOp} and source_id > $3 order by source_id limit ${atOnce}`,
    [feed.collectionId, since.toString(), after],
  );
  return rows.map((row) => row.source_id);
}

async function differingOf(resources: Resources, feed: Feed, ids: readonly string[]): Promise<string[]> {
  const { source, postgres } = resources;
  const keys = await idsKnown(postgres, ids);
  const { documents } = await readDocuments(source.client, source.db, feed.source, keys);
  const rows = await query<{ source_id: string; source_digest: string; deleted: boolean }>(
    postgres,
    'comparing what was written back',
    'select source_id, source_digest, deleted from migration_control.ledger where collection_id = $1 and source_id = any($2)',
    [feed.collectionId, ids],
  );
  return rows.filter((row) => differs(row, documents.get(row.source_id))).map((row) => row.source_id);
}

/** Whether the old system's document is another than the ledger says it is, or is there although it says that it was deleted. */
export const differs = (
  { source_digest: digest, deleted }: { readonly source_digest: string; readonly deleted: boolean },
  bytes: Uint8Array | undefined,
): boolean => (deleted ? bytes !== undefined : !bytes || digestOf(bytes) !== BigInt(digest));
