// The way back: from a row, a key or a document of the targets to the source document it came from.
import type { Resources } from '../activities/resources.ts';
import { entriesOf, holdersOfKey, type LedgerEntry } from '../control/lineage.ts';
import { sourceIdsOf } from '../core/identity.ts';
import type { Mapping } from '../mappings/mapping.ts';
import { mongo } from '../stores/mongodb/connection.ts';
import { name, query } from '../stores/postgres/connection.ts';
import type { TableTarget } from '../stores/postgres/target.ts';
import { redis } from '../stores/redis/connection.ts';
import { guardField } from '../stores/redis/script.ts';
import type { KeysTarget } from '../stores/redis/target.ts';

export interface Origin {
  readonly mapping: Mapping;
  readonly entry: LedgerEntry;
}

/** Why there is no document to go back to, in a sentence; or that nothing of the kind is asked for (`known` names what there is). */
export type Sought = Origin | { readonly answer: string; readonly known?: readonly string[] };

const ownerOf = (resources: Resources, store: string, target: string): Mapping | undefined =>
  [...resources.mappings.values()].find((mapping) =>
    mapping.targets.some((one) => one.store === store && one.name === target),
  );

const targetNames = (resources: Resources, store: string): string[] =>
  [...resources.mappings.values()].flatMap((mapping) =>
    mapping.targets.filter((one) => one.store === store).map((one) => one.name),
  );

/** `id`: the row's own id. A child row leads to the document of the row it belongs to. */
export async function fromRow(resources: Resources, table: string, id: string): Promise<Sought> {
  const mapping = ownerOf(resources, 'postgres', table);
  if (!mapping) return { answer: `No mapping makes a table ${table}.`, known: targetNames(resources, 'postgres') };
  if (!/^\d{1,19}$/.test(id))
    return { answer: `"${id}" is no id of a row: the column id holds whole numbers.`, known: [] };
  const target = mapping.targets.find((one) => one.store === 'postgres' && one.name === table) as TableTarget;
  const { child } = target;
  const [row] = await query<{ source_id: string }>(
    resources.postgres,
    `reading ${table}`,
    child
      ? `select p.source_id from ${name(table)} t join ${name(child.of)} p on p.id = t.${name(child.column)} where t.id = $1::bigint`
      : `select source_id from ${name(table)} where id = $1::bigint limit 1`,
    [id],
  );
  if (!row) return { answer: `${table} has no row with the id ${id}.` };
  return loadedFrom(resources, mapping, [row.source_id], `the row ${id} of ${table}`);
}

/** `key`: with or without its prefix. One that has expired or was evicted is looked for in the ledger. */
export async function fromKey(resources: Resources, key: string): Promise<Sought> {
  const keyed = [...resources.mappings.values()].flatMap((mapping) =>
    mapping.targets
      .filter((one) => one.store === 'redis')
      .map((one) => ({ mapping, prefix: (one as KeysTarget).prefix })),
  );
  const names = keyed.map((one) => one.mapping.collection);
  for (const full of new Set([key, ...keyed.map(({ prefix }) => prefix + key)])) {
    const held = await redis('reading a key', () => resources.redis.get(full).catch(() => null));
    const owner = keyed.find(({ prefix }) => full.startsWith(prefix))?.mapping;
    const guard = held === null ? undefined : guardIn(held);
    if (guard !== undefined && owner) return loadedFrom(resources, owner, [guard], `the key ${full}`);
    if (held !== null && owner) return { answer: `The key ${full} was not written by this migration.` };
    const [holder] = await holdersOfKey(resources.postgres, names, full);
    if (holder)
      return loadedFrom(resources, resources.mappings.get(holder.collection)!, [holder.sourceId], `the key ${full}`);
  }
  return {
    answer: `No document has the key ${key}, and Redis does not hold it.`,
    known: keyed.map((one) => `${one.prefix}...`),
  };
}

function guardIn(value: string): string | undefined {
  try {
    return (JSON.parse(value) as Record<string, { s?: string } | undefined>)[guardField]?.s;
  } catch {
    return undefined;
  }
}

/** A document of the target MongoDB keeps its source's `_id`. */
export async function fromDocument(resources: Resources, collection: string, text: string): Promise<Sought> {
  const mapping = ownerOf(resources, 'mongodb', collection);
  if (!mapping)
    return { answer: `No mapping makes a collection ${collection}.`, known: targetNames(resources, 'mongodb') };
  const ids = sourceIdsOf(text);
  await mongo('reaching the target', () => resources.mongodb.db.command({ ping: 1 }));
  return loadedFrom(
    resources,
    mapping,
    ids.map((one) => one.sourceId),
    `the document ${text} of ${collection}`,
  );
}

async function loadedFrom(
  resources: Resources,
  mapping: Mapping,
  ids: readonly string[],
  what: string,
): Promise<Sought> {
  const entries = await entriesOf(resources.postgres, mapping.collection, ids);
  const entry = entries.find((one) => one.version.state === 'loaded') ?? entries[0];
  return entry
    ? { mapping, entry }
    : {
        answer: `The ledger knows no document of ${mapping.collection} that became ${what}: this migration did not write it.`,
      };
}
