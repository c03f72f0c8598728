// Which row a reference should name, as its source id: told by the ledger and the parents' own documents, not by the row that refers.
import { idsKnown } from '../../control/long-keys.ts';
import type { Mapping } from '../../mappings/mapping.ts';
import { transformDocument } from '../../mappings/transform.ts';
import { readDocuments } from '../../stores/mongodb/source.ts';
import { name, query } from '../../stores/postgres/connection.ts';
import { Reference, type Row } from '../../stores/postgres/target.ts';
import { readDocument } from './bytes.ts';
import type { Resolve } from './canonical.ts';
import { tablesOf } from './read-back.ts';
import type { Verifier } from './verifier.ts';

interface Parent {
  readonly mapping: Mapping;
  readonly collectionIds: readonly number[];
}

/** The mapping that a table belongs to, if this migration has it. */
function parentOf({ resources, grounds }: Verifier, table: string): Parent | undefined {
  const mapping = [...resources.mappings.values()].find((one) => tablesOf(one).some((target) => target.name === table));
  const collectionIds = grounds.filter((one) => one.mapping === mapping).map((one) => one.collectionId);
  return mapping && collectionIds.length > 0 ? { mapping, collectionIds } : undefined;
}

export function referencesIn(rows: Iterable<Row>): Reference[] {
  const found: Reference[] = [];
  for (const row of rows) for (const column in row) if (row[column] instanceof Reference) found.push(row[column]);
  return found;
}

/** Looks up all candidates at once. A source id resolves where the ledger has it as loaded, another column where a row has the value. */
export async function resolverFor(verifier: Verifier, references: readonly Reference[]): Promise<Resolve> {
  const wanted = new Map<string, { table: string; by: string; keys: Set<string> }>();
  for (const { table, candidates } of references)
    for (const [by, key] of candidates) {
      const place = `${table}\t${by}`;
      const lookup = wanted.get(place) ?? { table, by, keys: new Set<string>() };
      wanted.set(place, lookup);
      lookup.keys.add(key);
    }
  const found = new Map<string, string>();
  for (const [place, { table, by, keys }] of wanted) {
    const parent = parentOf(verifier, table);
    if (!parent) continue;
    const rows =
      by === 'source_id'
        ? await query<{ key: string; parent: string }>(
            verifier.resources.postgres,
            `looking up ${table} in the ledger`,
            `select source_id as key, source_id as parent from migration_control.ledger
             where collection_id = any($2) and source_id = any($1) and state = 'l' and not deleted`,
            [[...keys], parent.collectionIds],
          )
        : await query<{ key: string; parent: string }>(
            verifier.resources.postgres,
            `looking up ${table}`,
            `select ${name(by)} as key, source_id as parent from ${name(table)} where ${name(by)} = any($1)`,
            [[...keys]],
          );
    for (const row of rows) found.set(`${place}\t${row.key}`, row.parent);
  }
  return ({ table, candidates }) => {
    for (const [by, key] of candidates) {
      const parent = found.get(`${table}\t${by}\t${key}`);
      if (parent !== undefined) return parent;
    }
    return null;
  };
}

/**
 * Whether the row that `parentId` names is one that the reference means, by the parent's own document. A parent whose row is itself wrong must not
 * make every row that refers to it look wrong.
 */
export async function isMeant(verifier: Verifier, reference: Reference, parentId: string): Promise<boolean> {
  const parent = parentOf(verifier, reference.table);
  if (!parent) return false;
  const { client, db } = verifier.resources.source;
  for (const { source } of verifier.grounds.filter((one) => one.mapping === parent.mapping)) {
    const { version, documents } = await readDocuments(
      client,
      db,
      source,
      await idsKnown(verifier.resources.postgres, [parentId]),
    );
    const bytes = documents.get(parentId);
    if (!bytes) continue;
    const { document, aside } = readDocument(bytes);
    if (aside) continue;
    const result = transformDocument(parent.mapping, document, verifier.transformAt(version));
    const row = result.state === 'loaded' ? (result.outcome[reference.table]?.[0] as Row | undefined) : undefined;
    const means = ([by, key]: readonly [string, string]) => (by === 'source_id' ? parentId : row?.[by]) === key;
    if (row && reference.candidates.some(means)) return true;
  }
  return false;
}
