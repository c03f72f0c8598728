// Documents of the old system as the new one has them now: read from the targets, put into what the old system still holds.
import type pg from 'pg';
import { ownVault } from '../../control/vault.ts';
import { decode } from '../../core/bson/decode.ts';
import { idFromSourceId, idsFrom } from '../../core/identity.ts';
import { parseJson } from '../../mappings/back/json.ts';
import type { Document, Mapping, Outcome } from '../../mappings/mapping.ts';
import { contentOf, putDocument, type PutSettings } from '../../mappings/way-back.ts';
import { readDocuments } from '../../stores/mongodb/source.ts';
import { query } from '../../stores/postgres/connection.ts';
import { resolveReferences } from '../../stores/postgres/references.ts';
import { readRows } from '../../stores/postgres/rows.ts';
import { Reference, type Row, type TableTarget } from '../../stores/postgres/target.ts';
import type { Feed } from '../apply.ts';
import type { Resources } from '../resources.ts';

const documentsAtOnce = 500;

/**
 * `unchanged`: the old document says all that can be said of what the targets hold. `aside`: they do not hold it by the migration's own decision
 * (set aside, skipped, or the rows of its id are those of another source collection). `document`: its bytes as they should be now. `gone`: the
 * new system has removed it. `unsaid` names columns and fields whose value no document of this shape says.
 */
export type Rebuilt =
  | { readonly is: 'unchanged'; readonly unsaid: readonly string[] }
  | { readonly is: 'document'; readonly bytes: Uint8Array; readonly unsaid: readonly string[] }
  /** What it would become is what the forward direction sets aside: it is not written. */
  | { readonly is: 'refused'; readonly rule: string; readonly path: string }
  | { readonly is: 'aside' }
  | { readonly is: 'gone' };

/**
 * One answer per id. `client`: in the caller's transaction, holding the locks that keep the rows as they are. `old`: the documents as the
 * old system holds them, by source id; one that is not there is built anew.
 */
export async function rebuildDocuments(
  resources: Pick<Resources, 'mongodb'>,
  client: pg.ClientBase,
  feed: Feed,
  ids: readonly string[],
  old: ReadonlyMap<string, Uint8Array>,
  settings: PutSettings,
): Promise<Map<string, Rebuilt>> {
  const { mapping } = feed;
  const contents = await readContents(resources, client, mapping, ids);
  for (const id of await ofSiblings(client, feed, [...contents.keys()])) contents.delete(id);
  const absent = ids.filter((id) => !contents.has(id));
  const aside = await setAside(client, feed, absent);
  await keepUnresolved(client, feed, contents, old, settings);
  const kept = await keptBytes(
    client,
    feed,
    [...contents.keys()].filter((id) => !old.has(id)),
  );
  const result = new Map<string, Rebuilt>();
  for (const id of absent) result.set(id, { is: aside.has(id) ? 'aside' : 'gone' });
  for (const [id, content] of contents) {
    const given = old.get(id);
    if (idFromSourceId(id) === undefined) {
      result.set(id, { is: 'refused', rule: 'source_id_names_an_id', path: 'source_id' });
      continue;
    }
    const put = putDocument(mapping, id, given ?? kept.get(id), content, settings);
    if (put.refused) {
      result.set(id, { is: 'refused', ...put.refused });
      continue;
    }
    const unsaid = [...put.unsaid, ...twice(mapping, content)];
    const same = given !== undefined && Buffer.compare(put.bytes, given) === 0;
    result.set(id, same ? { is: 'unchanged', unsaid } : { is: 'document', bytes: put.bytes, unsaid });
  }
  return result;
}

/** What the targets hold of the documents; one without its main row or document is not in the result. */
async function readContents(
  { mongodb }: Pick<Resources, 'mongodb'>,
  client: pg.ClientBase,
  mapping: Mapping,
  ids: readonly string[],
): Promise<Map<string, Outcome>> {
  const contents = new Map<string, Record<string, (Row | Document)[]>>();
  const add = (id: string, target: string, rows: (Row | Document)[]) =>
    contents.set(id, { ...contents.get(id), [target]: rows });
  for (const target of mapping.targets) {
    if (target.store === 'postgres')
      for (const [id, rows] of await readRows(client, target as TableTarget, ids, parseJson))
        add(id, target.name, rows);
    if (target.store === 'mongodb') {
      for (let i = 0; i < ids.length; i += documentsAtOnce) {
        const some = idsFrom(ids.slice(i, i + documentsAtOnce));
        const { documents } = await readDocuments(mongodb.client, mongodb.db, target.name, some);
        for (const [id, bytes] of documents) add(id, target.name, [decode(bytes)]);
      }
    }
  }
  const main = mapping.targets.filter(
    (target) => target.store === 'mongodb' || (target.store === 'postgres' && !(target as TableTarget).child),
  );
  for (const [id, content] of contents) if (!main.some((target) => content[target.name])) contents.delete(id);
  return contents;
}

/** Tables that hold more rows of the document than a document can say: the last one counts. */
const twice = (mapping: Mapping, content: Outcome): string[] =>
  mapping.targets
    .filter((target) => target.store === 'postgres' && !(target as TableTarget).child)
    .filter((target) => (content[target.name]?.length ?? 0) > 1)
    .map((target) => `${target.name} (${content[target.name]!.length} rows)`);

/** Documents as they were when they were loaded, of those whose fields stand in an order that no target keeps. */
async function keptBytes(
  client: pg.ClientBase,
  { collectionId }: Feed,
  ids: readonly string[],
): Promise<Map<string, Uint8Array>> {
  if (ids.length === 0) return new Map();
  const rows = await query<{ source_id: string; kept: Buffer }>(
    client,
    'reading the ledger',
    'select source_id, kept from migration_control.ledger where collection_id = $1 and source_id = any($2::text[]) and kept is not null',
    [collectionId, ids],
  );
  return new Map(rows.map((row) => [row.source_id, ownVault().openKept(row.kept)]));
}

/** Documents whose rows come from another source collection of the mapping, which has a document of the same id. */
async function ofSiblings(
  client: pg.ClientBase,
  { collectionId, siblings }: Feed,
  ids: readonly string[],
): Promise<string[]> {
  if (siblings.length < 2 || ids.length === 0) return [];
  const rows = await query<{ source_id: string }>(
    client,
    'reading the ledger',
    `select source_id from migration_control.ledger where collection_id = any($1) and source_id = any($2::text[]) and not deleted and state = 'l'
     group by source_id having not bool_or(collection_id = $3)`,
    [siblings, ids, collectionId],
  );
  return rows.map((row) => row.source_id);
}

/** Documents that have no rows of their own by the migration's own decision: they are not removed from the old system. */
async function setAside(
  client: pg.ClientBase,
  { collectionId, siblings }: Feed,
  ids: readonly string[],
): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const rows = await query<{ source_id: string }>(
    client,
    'reading the ledger',
    `select source_id from migration_control.ledger where collection_id = any($1) and source_id = any($2::text[]) and not deleted
       and (state in ('q', 's') and collection_id = $3 or state = 'l' and collection_id <> $3)`,
    [siblings, ids, collectionId],
  );
  return new Set(rows.map((row) => row.source_id));
}

/**
 * A row without an owner whose document names one: nothing has changed if that owner was never found, or is gone. The reference then
 * stands in the row as the document makes it.
 */
async function keepUnresolved(
  client: pg.ClientBase,
  { mapping, collectionId }: Feed,
  contents: ReadonlyMap<string, Outcome>,
  old: ReadonlyMap<string, Uint8Array>,
  settings: PutSettings,
): Promise<void> {
  const named: { id: string; row: Row; column: string; reference: Reference }[] = [];
  for (const target of referring(mapping))
    for (const [id, content] of contents) {
      const [row] = (content[target.name] ?? []) as Row[];
      const empty = Object.entries(target.columns).filter(([column, its]) => its.references && row?.[column] === null);
      const given = empty.length > 0 ? old.get(id) : undefined;
      const [before] = (given ? (contentOf(mapping, given, settings)?.[target.name] ?? []) : []) as Row[];
      for (const [column] of empty) {
        const reference = before?.[column];
        if (reference instanceof Reference) named.push({ id, row: row!, column, reference });
      }
    }
  if (named.length === 0) return;
  const noted = await query<{ source_id: string }>(
    client,
    'reading unresolved references',
    'select distinct source_id from migration_control.unresolved where collection_id = $1 and source_id = any($2::text[])',
    [collectionId, named.map(({ id }) => id)],
  );
  const never = new Set(noted.map((row) => row.source_id));
  const looked = named.map(({ id, column, reference }) => ({ id, rows: [{ [column]: reference }] as Row[] }));
  await resolveReferences(client, looked);
  for (const [i, { id, row, column, reference }] of named.entries())
    if (never.has(id) || looked[i]!.rows[0]![column] === null) row[column] = reference;
}

const referring = (mapping: Mapping): TableTarget[] =>
  mapping.targets
    .filter((target): target is TableTarget => target.store === 'postgres')
    .filter((target) => Object.values(target.columns).some((column) => column.references));
