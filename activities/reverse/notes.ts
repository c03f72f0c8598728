// What rows note of how their document was converted: the way back has written another document, and its notes are others.
import { serialize } from 'bson';
import type pg from 'pg';
import { bufferOf, elementNamed } from '../../core/bson/reader.ts';
import { versionOfRead } from '../../core/guard.ts';
import { idsFrom } from '../../core/identity.ts';
import { keptColumn, notesKey } from '../../mappings/back/cells.ts';
import type { Document, Mapping, Outcome } from '../../mappings/mapping.ts';
import { millisecondsOf, readDocuments } from '../../stores/mongodb/source.ts';
import { name } from '../../stores/postgres/connection.ts';
import { orNoteAgain } from '../../stores/postgres/redo.ts';
import type { Row, TableTarget } from '../../stores/postgres/target.ts';
import type { ChangeSettings, Feed } from '../apply.ts';
import type { Resources } from '../resources.ts';
import { imageOf, isLoading, Shaper } from '../shape.ts';

/** The application may hold the row: it is written again soon then, and comes back once more. */
const patienceMs = 100;
const isHeld = (error: unknown): boolean => ['55P03', '40P01'].includes((error as { code?: string }).code ?? '');

/** What has been written to the old system. */
export interface Written {
  /** As the old system has them now; undefined where they were deleted. */
  readonly documents: ReadonlyMap<string, Uint8Array | undefined>;
  /** The ledger's. */
  readonly versions: ReadonlyMap<string, bigint>;
  /** What the old documents do not say of the new ones. */
  readonly unsaid: ReadonlyMap<string, readonly string[]>;
}

/**
 * The rows' own content stays as it is; what the migration has noted beside it becomes what the forward direction notes, so that a verification after the
 * writes have moved back finds no difference. In the caller's transaction, at its end.
 */
export async function bringNotes(
  { mongodb }: Pick<Resources, 'mongodb'>,
  client: pg.ClientBase,
  feed: Feed,
  settings: ChangeSettings,
  { documents, versions, unsaid }: Written,
): Promise<void> {
  const { mapping } = feed;
  const shaper = new Shaper(mapping, feed.source, feed.collectionId);
  const made = new Map<string, Outcome>();
  for (const [id, bytes] of documents) {
    const version = versions.get(id);
    if (!bytes || version === undefined || (unsaid.get(id)?.length ?? 0) > 0) continue;
    const image = imageOf(bytes, versionOfRead(version));
    const shaped = shaper.shape(image, { ...settings, asOf: millisecondsOf(version) });
    if (isLoading(shaped)) made.set(id, shaped.outcome);
  }
  if (made.size === 0) return;
  for (const target of mapping.targets) {
    const table = target as TableTarget;
    if (target.store === 'postgres' && table.columns[keptColumn]?.type === 'jsonb')
      await bringTo(client, table, mapping, made);
    if (target.store === 'mongodb') {
      const { client: mongoClient, db } = mongodb;
      const held = await readDocuments(mongoClient, db, target.name, idsFrom(made.keys()));
      await readAgainLater(client, feed, target.name, made, held.documents);
    }
  }
}

async function bringTo(
  client: pg.ClientBase,
  table: TableTarget,
  { back }: Mapping,
  made: ReadonlyMap<string, Outcome>,
): Promise<void> {
  const own = [notesKey, ...(back.tags ?? [])];
  const notes = [...made].flatMap(([id, outcome]): [string, string][] => {
    const [row] = (outcome[table.name] ?? []) as readonly Row[];
    if (!row) return [];
    const kept = (row[keptColumn] ?? {}) as Record<string, unknown>;
    return [[id, JSON.stringify(Object.fromEntries(own.flatMap((key) => (key in kept ? [[key, kept[key]]] : []))))]];
  });
  if (notes.length > 0) await write(client, table, own, notes);
}

/** Documents of the target MongoDB are the application's as long as it writes them: those whose notes are others are made anew when it does so no more. */
async function readAgainLater(
  client: pg.ClientBase,
  { mapping, collectionId }: Feed,
  collection: string,
  made: ReadonlyMap<string, Outcome>,
  held: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  const { notes = [], rest } = mapping.back;
  const fields = [...notes, ...(rest === undefined ? [] : [rest])];
  const others = [...made].flatMap(([id, outcome]) => {
    const [document] = (outcome[collection] ?? []) as readonly Document[];
    const there = held.get(id);
    if (!document || !there) return [];
    const wanted = serialize(document, { ignoreUndefined: true });
    return fields.some((field) => textOf(wanted, field) !== textOf(there, field)) ? [id] : [];
  });
  if (others.length > 0)
    await client.query(
      `insert into migration_control.redo (collection_id, source_id, reason) select $1, id, 'late write' from unnest($2::text[]) id order by id ${orNoteAgain}`,
      [collectionId, others],
    );
}

function textOf(document: Uint8Array, field: string): string | undefined {
  const found = elementNamed(bufferOf(document), field);
  return found && `${found.type} ${bufferOf(document).toString('latin1', found.at, found.end)}`;
}

async function write(
  client: pg.ClientBase,
  table: TableTarget,
  own: readonly string[],
  notes: readonly (readonly [string, string])[],
): Promise<void> {
  const column = name(keptColumn);
  const next = `nullif((coalesce(t.${column}, '{}') - $3::text[]) || s.notes, '{}')`;
  await client.query(`savepoint notes; set local lock_timeout = ${patienceMs}`);
  try {
    await client.query(
      `update ${name(table.name)} t set ${column} = ${next} from unnest($1::text[], $2::jsonb[]) s(id, notes)
       where t.source_id = s.id and jsonb_typeof(coalesce(t.${column}, '{}')) = 'object' and ${next} is distinct from nullif(t.${column}, '{}')`,
      [notes.map(([id]) => id), notes.map(([, json]) => json), own],
    );
    await client.query('release savepoint notes; set local lock_timeout = 1000');
  } catch (error) {
    await client.query('rollback to savepoint notes; release savepoint notes');
    if (!isHeld(error)) throw error;
  }
}
