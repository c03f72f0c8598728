// Keys that Redis has forgotten, set again where the ledger holds the document just as it was read; nothing else of it is touched.
import { ownVault } from '../../control/vault.ts';
import { enterStores } from '../../control/checkpoints.ts';
import { movedOf } from '../../control/reverse.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { loadKeys } from '../../stores/redis/loader.ts';
import type { KeyRow, KeysTarget } from '../../stores/redis/target.ts';
import { groupBy } from './group.ts';
import type { Ground } from './read-back.ts';
import type { Verifier } from './verifier.ts';

/** A key that is not there although it would still live. */
export interface AbsentKey {
  readonly id: string;
  readonly target: KeysTarget;
  readonly row: KeyRow;
}

const keysAtOnce = 500;

/** `digests`: of the documents as they were read. Returns how many keys were set. */
export async function restoreKeys(
  verifier: Verifier,
  ground: Ground,
  absent: readonly AbsentKey[],
  digests: ReadonlyMap<string, bigint>,
): Promise<number> {
  let restored = 0;
  for (let i = 0; i < absent.length; i += keysAtOnce)
    restored += await restoreSome(verifier, ground, absent.slice(i, i + keysAtOnce), digests);
  return restored;
}

interface LedgerRow {
  readonly source_id: string;
  readonly version: string;
  readonly op_index: number;
  readonly source_digest: string;
  readonly keys: string[] | null;
}

/**
 * Under a lock of the ledger's rows, with their versions: no other writer of these documents comes between. What has changed since it was read
 * is left to whoever changes it.
 */
async function restoreSome(
  { resources }: Verifier,
  { mapping, collectionId }: Ground,
  absent: readonly AbsentKey[],
  digests: ReadonlyMap<string, bigint>,
): Promise<number> {
  return inTransaction(resources.postgres, 'setting keys again', async (client) => {
    await enterStores(client);
    // Where the new system is written first, the old one's document is no measure of the key.
    if ((await movedOf(client, [mapping.collection])).size > 0) return 0;
    const { rows } = await client.query<LedgerRow>(
      `select source_id, version, op_index, source_digest, keys from migration_control.ledger
       where collection_id = $1 and source_id = any($2) and state = 'l' and not deleted and mapping_version = $3 order by source_id for share`,
      [collectionId, absent.map((one) => one.id), mapping.version],
    );
    const held = new Map(rows.map((row) => [row.source_id, row]));
    let restored = 0;
    for (const [target, some] of groupBy(absent, (one) => one.target)) {
      const writes = some.flatMap(({ id, row }) => {
        const own = held.get(id);
        if (
          !own ||
          BigInt(own.source_digest) !== digests.get(id) ||
          !own.keys?.includes(ownVault().sealText('redis key', target.prefix + row.key))
        )
          return [];
        return [
          { ...row, owner: collectionId, sourceId: id, version: { time: BigInt(own.version), op: own.op_index } },
        ];
      });
      restored += (await loadKeys(resources.redis, target.prefix, writes, 'ledger')).written;
    }
    return restored;
  });
}
