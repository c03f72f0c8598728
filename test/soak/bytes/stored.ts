// What the source holds, as the bytes it holds, against what the migration says of it.
import type { Db } from 'mongodb';
import { digestOf } from '../../../activities/shape.ts';
import { isSealed, ownVault } from '../../../control/vault.ts';
import { sourceIdOf } from '../../../core/identity.ts';
import type { World } from '../../support/world.ts';

export interface Stored {
  readonly source: string;
  readonly id: string;
  readonly bytes: Buffer;
}

export const keyOf = ({ source, id }: Pick<Stored, 'source' | 'id'>): string => `${source}\t${id}`;

/** A collection of the source that nothing is migrated of. */
export const besideThem = 'beside_them';

/** Every document of the old system. */
export async function stored(db: Db): Promise<Map<string, Stored>> {
  const result = new Map<string, Stored>();
  for (const { name } of await db.listCollections({}, { nameOnly: true }).toArray()) {
    if (name === besideThem || name.startsWith('causeway') || name.startsWith('system.')) continue;
    for await (const raw of db.collection(name).find({}, { raw: true }) as unknown as AsyncIterable<Buffer>) {
      const one = { source: name, id: sourceIdOf(raw), bytes: Buffer.from(raw) };
      result.set(keyOf(one), one);
    }
  }
  return result;
}

interface Entry {
  readonly source: string;
  readonly source_id: string;
  readonly state: 'l' | 'q' | 's';
  readonly rule: string | null;
  readonly source_digest: string;
  readonly mapping: string;
}

export interface Account {
  readonly loaded: number;
  readonly quarantined: number;
  readonly skipped: number;
  /** Documents of which the ledger holds another image than the source. */
  readonly otherImage: readonly string[];
  readonly wrong: readonly string[];
}

/** Rules that say nothing of the document: a defect stands behind each. */
const nameless = ['mapping_failed', 'not_applied'];

/** Whether each document is loaded, set aside by a named rule with its bytes, or skipped by one, and nothing else stands in the ledger. */
export async function accountFor(world: World, documents: ReadonlyMap<string, Stored>): Promise<Account> {
  const ledger = await world.rows<Entry>(
    `select c.source, c.mapping, l.source_id, l.state, l.rule, l.source_digest from migration_control.ledger l
     join migration_control.collections c on c.id = l.collection_id where not l.deleted`,
  );
  const errors = await world.rows<{
    source: string;
    source_id: string;
    collection: string;
    rule: string;
    message: string;
    document: unknown;
  }>(
    'select collection, source_collection as source, source_id, rule, message, document from migration_control.migration_errors where resolved_at is null',
  );
  const aside = new Map(errors.map((row) => [keyOf({ source: row.source, id: row.source_id }), row]));
  const wrong: string[] = [];
  const otherImage: string[] = [];
  const counts = { l: 0, q: 0, s: 0 };
  const seen = new Set<string>();
  for (const row of ledger) {
    const key = keyOf({ source: row.source, id: row.source_id });
    seen.add(key);
    counts[row.state]++;
    const document = documents.get(key);
    if (!document) {
      wrong.push(`${row.source}: the ledger has a document that the source has not (${row.state})`);
      continue;
    }
    if (digestOf(document.bytes) !== BigInt(row.source_digest)) otherImage.push(key);
    if (row.state !== 'l' && (row.rule === null || nameless.includes(row.rule)))
      wrong.push(
        `${row.source}: ${row.state} by ${row.rule ?? 'no rule'} (${aside.get(key)?.message ?? 'no entry'}): ${document.bytes.toString('hex').slice(0, 4000)}`,
      );
    if (row.state !== 'q') continue;
    const error = aside.get(key);
    if (error?.rule !== row.rule)
      wrong.push(`${row.source}: set aside by ${row.rule}, the quarantine says ${error?.rule ?? 'nothing'}`);
    else if (!isSealed(error!.document)) wrong.push(`${row.source}: the quarantine holds no document`);
    else if (
      !otherImage.includes(key) &&
      !Buffer.from(ownVault().open({ collection: error!.collection, sourceId: row.source_id }, error!.document)).equals(
        document.bytes,
      )
    )
      wrong.push(`${row.source}: the quarantine holds other bytes than the source`);
  }
  for (const [key, one] of documents)
    if (!seen.has(key)) wrong.push(`${one.source}: not accounted for: ${one.bytes.toString('hex').slice(0, 4000)}`);
  return { loaded: counts.l, quarantined: counts.q, skipped: counts.s, otherImage, wrong };
}
