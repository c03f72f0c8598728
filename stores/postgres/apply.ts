// The guard in SQL: images staged, compared with the ledger version by version, and only what is newer applied.
import type pg from 'pg';
import type { Version } from '../../core/guard.ts';
import { clashesOf, type Clash } from './clashes.ts';
import { inOneTrip, literal, name, ownWrites } from './connection.ts';
import { columnsOf } from './copy.ts';
import { layDown } from './handing-over.ts';
import { errorColumns, ledgerColumns, originCode, unresolvedColumns, type Origin } from './ledger.ts';
import { notesStatements } from './notes.ts';
import { orNoteAgain } from './redo.ts';
import { copy, childrenInsert, makeStage, stageName, type CopyText } from './stage.ts';
import { sourceIdSql } from './owner.ts';
import type { TableTarget } from './target.ts';

/** Images of documents of one source collection, at most one per document, sorted by source id so that writers lock in one order. */
export interface Images {
  readonly collectionId: number;
  /** Ledger ids of all source collections of the mapping: their documents share tables. */
  readonly siblings: readonly number[];
  readonly ledger: CopyText;
  readonly errors: CopyText | undefined;
  readonly unresolved: CopyText | undefined;
  /** A table without `rows` gets none. */
  readonly tables: readonly { readonly target: TableTarget; readonly rows: CopyText | undefined }[];
  /** Columns of other tables that hold ids of this mapping's rows, with the ledger ids of their documents. */
  readonly referencedBy: readonly Referrer[];
}

export interface Referrer {
  readonly parent: string;
  readonly table: string;
  readonly column: string;
  /** Of a table whose rows belong to another's. */
  readonly child: TableTarget['child'];
  readonly collectionIds: readonly number[];
}

export interface Applied {
  /** Documents whose image was newer: it is now what stands in the tables. */
  readonly fresh: readonly FreshDocument[];
  /** Documents whose image was not newer. */
  readonly stale: readonly StaleDocument[];
  /** Documents left as they were because another holds a unique value of theirs; they are noted in `redo`. */
  readonly clashes: readonly Clash[];
}

export interface FreshDocument {
  readonly id: string;
  readonly version: Version;
  readonly loaded: boolean;
  /** The image before it. */
  readonly wasLoaded: boolean;
  /** As the ledger has them: encrypted, equal ones alike. */
  readonly keys: readonly string[];
  readonly oldKeys: readonly string[];
}

export interface StaleDocument {
  readonly id: string;
  /** Of what stands in the tables. */
  readonly version: Version;
  /** Keys that the refused image would have had and the document does not have now. */
  readonly unwantedKeys: readonly string[];
}

/** Who has lost a unique key is settled before the copy; live writers settle it anew for each document they apply. */
export interface ApplyOptions {
  readonly forgetElections: boolean;
  /** Without one it is the copy. After a `quarantine retry` a document that fails again keeps its entry, with the new reason. */
  readonly origin?: Origin;
}

/** To be called in a transaction, also several times. */
export async function applyImages(client: pg.ClientBase, images: Images, options: ApplyOptions): Promise<Applied> {
  const stages = await stage(client, images);
  const partition = `migration_control.${name(`ledger_${images.collectionId}`)}`;
  const before = await findFresh(client, partition);
  const clashes = await clashesOf(client, images, stages);
  const [parents, children] = [stages.filter((one) => !one.target.child), stages.filter((one) => one.target.child)];
  if (before.loaded > 0) for (const one of parents) await leaveReferrers(client, images, one);
  // In one round trip: under load it is these that a lane waits for, not what PostgreSQL does in them.
  const results = await inOneTrip(client, [
    ...ledgerStatements(partition, { clashed: clashes.length > 0, known: before.known > 0 }, options.origin),
    ...parents.flatMap((one) => [...rowStatements(one, before)]),
    ...children.flatMap((one) => [...childStatements(one, before)]),
    ...notesStatements(images, options, before),
    outcomeStatement(partition),
  ]);
  return { ...outcomeOf(results.at(-1)!.rows as OutcomeRow[]), clashes };
}

export interface Stage {
  readonly target: TableTarget;
  readonly stage: string;
  readonly empty: boolean;
}

/** How many documents the ledger knew before, and in which states: what never was there need not be removed. */
export interface Before {
  readonly known: number;
  readonly loaded: number;
  readonly quarantined: number;
  /** Between which times their rows stand: told so, PostgreSQL plans with these chunks of a table instead of all of them. */
  readonly first: string | null;
  readonly last: string | null;
}

async function stage(client: pg.ClientBase, images: Images): Promise<Stage[]> {
  // Nobody has counted the rows of temporary tables; guessing, the planner would rather read a whole table, in whatever order, than look up a few keys.
  await client.query(`
    set local client_min_messages = warning; set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off; ${ownWrites};
    create temporary table if not exists stage_ledger (like migration_control.ledger including defaults, primary key (source_id)) on commit delete rows;
    create temporary table if not exists stage_unresolved (like migration_control.unresolved) on commit delete rows;
    create temporary table if not exists stage_errors (collection text, source_collection text, source_id text collate "C", rule text, path text,
      message text, document jsonb, mapping_version smallint, bson_type text) on commit delete rows;
    create temporary table if not exists fresh (source_id text collate "C" primary key, old_place timestamptz, old_state "char", old_keys text[], known boolean) on commit delete rows;
    create temporary table if not exists clash (source_id text collate "C", unique_set integer, winner text collate "C", winner_source text) on commit delete rows;
    delete from stage_ledger; delete from stage_unresolved; delete from stage_errors; delete from fresh; delete from clash;
    ${images.tables.map(({ target }) => makeStage(target)).join(';\n')}`);
  await copy(client, 'stage_ledger', ledgerColumns, images.ledger);
  if (images.errors) await copy(client, 'stage_errors', errorColumns, images.errors);
  if (images.unresolved) await copy(client, 'stage_unresolved', unresolvedColumns, images.unresolved);
  const stages: Stage[] = [];
  for (const { target, rows } of images.tables) {
    const made = stageName(target);
    if (rows) await copy(client, made, columnsOf(target), rows);
    stages.push({ target, stage: made, empty: rows === undefined });
  }
  return stages;
}

/**
 * Locks the documents' ledger rows and leaves those with a newer image in `fresh`, with what the ledger held of them. A document it has
 * never held gets a row first, older than any version: whoever writes the same document at the same time then waits, instead of being met later.
 */
async function findFresh(client: pg.ClientBase, partition: string): Promise<Before> {
  const results = await inOneTrip(client, [
    `insert into ${partition} (collection_id, source_id, version, op_index, deleted, state, mapping_version, source_digest)
     select collection_id, source_id, 0, 0, true, 's', mapping_version, 0 from stage_ledger order by source_id on conflict do nothing`,
    `with held as (
      select l.* from ${partition} l join stage_ledger s on l.collection_id = s.collection_id and l.source_id = s.source_id order by l.source_id for update of l),
    found as (insert into fresh
      select s.source_id, l.place, case when l.deleted then null else l.state end, l.keys, l.version > 0
      from stage_ledger s join held l using (source_id) where (l.version, l.op_index) < (s.version, s.op_index) returning *)
    select count(*) filter (where known) as known, count(*) filter (where old_state = 'l') as loaded, count(*) filter (where old_state = 'q') as quarantined,
      min(old_place)::text as first, max(old_place)::text as last
    from found`,
  ]);
  const [row] = results.at(-1)!.rows as (Record<'known' | 'loaded' | 'quarantined', string> &
    Pick<Before, 'first' | 'last'>)[];
  const { known, loaded, quarantined, first, last } = row!;
  return { known: Number(known), loaded: Number(loaded), quarantined: Number(quarantined), first, last };
}

/** What newer versions replace goes into the history, in the statement that replaces it; what the ledger never held leaves nothing. */
function* ledgerStatements(
  partition: string,
  { clashed, known }: { readonly clashed: boolean; readonly known: boolean },
  origin: Origin | undefined,
): Generator<string> {
  const set = [
    ...ledgerColumns.slice(2).map((column) => `${column} = s.${column}`),
    `origin = ${origin === undefined ? 'null' : `'${originCode[origin]}'`}`,
  ];
  const kept = historyColumns.join(', ');
  const superseded = `with superseded as (insert into migration_control.ledger_history (${kept})
    select ${kept} from ${partition} join fresh using (source_id) where fresh.known)`;
  yield `${known ? superseded : ''} update ${partition} l set ${set.join(', ')} from stage_ledger s join fresh using (source_id) where l.collection_id = s.collection_id and l.source_id = s.source_id`;
  if (clashed) yield `delete from ${partition} l using clash where l.source_id = clash.source_id and l.version = 0`;
}

export const historyColumns = [
  'collection_id',
  'source_id',
  'version',
  'op_index',
  'deleted',
  'state',
  'rule',
  'mapping_version',
  'source_digest',
  'origin',
];

/** Rows of a document that was not loaded before are not ours to remove: a sibling collection may have the same id. */
function* rowStatements({ target, stage: from, empty }: Stage, before: Before): Generator<string> {
  const columns = columnsOf(target).map(name);
  const table = name(target.name);
  if (before.loaded > 0) {
    const time = target.time && `t.${name(target.time)}`;
    const moved = time ? `${time} = fresh.old_place and ${time} between ${placesOf(before)}` : leaves(from);
    yield `delete from ${table} t using fresh where t.source_id = fresh.source_id and fresh.old_state = 'l' and ${moved}`;
  }
  if (empty) return;
  // Rows partitioned by time have gone above.
  if (before.loaded > 0 && !target.time) yield* layDown(target, from);
  // A row that stays keeps its id, because other rows refer to it.
  const keep = target.time
    ? ''
    : ` on conflict (source_id) do update set ${columns
        .slice(1)
        .map((column) => `${column} = excluded.${column}`)
        .join(', ')}`;
  yield `insert into ${table} (${columns.join(', ')}) select ${columns.map((column) => `s.${column}`).join(', ')} from ${from} s join fresh using (source_id) order by s.source_id${keep}`;
}

const leaves = (stage: string): string => `not exists (select 1 from ${stage} s where s.source_id = t.source_id)`;
const placesOf = ({ first, last }: Before): string =>
  [first, last].map((place) => (place === null ? 'null' : `${literal(place)}::timestamptz`)).join(' and ');

/** Rows that refer to one that goes lose the reference, and their documents are read again: the one they name may come back under another id. */
async function leaveReferrers(client: pg.ClientBase, images: Images, { target, stage: from }: Stage): Promise<void> {
  const referrers = images.referencedBy.filter((one) => one.parent === target.name);
  if (referrers.length === 0) return;
  const { rows } = await client.query<{ id: string }>(
    `select t.id from ${name(target.name)} t join fresh using (source_id) where fresh.old_state = 'l' and ${leaves(from)}`,
  );
  if (rows.length === 0) return;
  const ids = rows.map((row) => row.id);
  for (const { table, column, child, collectionIds } of referrers) {
    const { rows: there } = await client.query<{ there: boolean }>('select to_regclass($1) is not null as there', [
      name(table),
    ]);
    if (!there[0]!.there) continue;
    await client.query(
      `with orphaned as (update ${name(table)} t set ${name(column)} = null where t.${name(column)} = any($1::bigint[]) returning ${sourceIdSql('t', child)} as source_id)
       insert into migration_control.redo (collection_id, source_id, reason)
       select l.collection_id, o.source_id, 'reference' from (select distinct source_id from orphaned) o
       join migration_control.ledger l on l.source_id = o.source_id and l.collection_id = any($2) and l.state = 'l' and not l.deleted
       order by 1, 2 ${orNoteAgain}`,
      [ids, collectionIds],
    );
  }
}

function* childStatements({ target, stage: from, empty }: Stage, before: Before): Generator<string> {
  if (before.loaded > 0)
    yield `delete from ${name(target.name)} c using ${name(target.child!.of)} p join fresh using (source_id) where c.${name(target.child!.column)} = p.id and fresh.old_state = 'l'`;
  if (empty) return;
  yield `delete from ${from} s where not exists (select 1 from fresh where fresh.source_id = s.source_id)`;
  yield childrenInsert(target, from);
}

interface OutcomeRow {
  readonly source_id: string;
  readonly version: string;
  readonly op_index: number;
  readonly loaded: boolean;
  readonly was_loaded: boolean | null;
  readonly keys: string[] | null;
  readonly fresh: boolean;
  /** Of what stood there before, where the image was newer; otherwise of the image. */
  readonly other_keys: string[] | null;
}

const outcomeStatement = (partition: string): string =>
  `select l.source_id, l.version, l.op_index, l.state = 'l' and not l.deleted as loaded, f.old_state = 'l' as was_loaded, l.keys, f.source_id is not null as fresh,
       case when f.source_id is null then s.keys else f.old_keys end as other_keys
     from stage_ledger s join ${partition} l on l.source_id = s.source_id left join fresh f on f.source_id = s.source_id
     where not exists (select 1 from clash where clash.source_id = s.source_id)`;

function outcomeOf(rows: readonly OutcomeRow[]): Pick<Applied, 'fresh' | 'stale'> {
  const versionOf = (row: OutcomeRow): Version => ({ time: BigInt(row.version), op: row.op_index });
  return {
    fresh: rows
      .filter((row) => row.fresh)
      .map((row) => ({
        id: row.source_id,
        version: versionOf(row),
        loaded: row.loaded,
        wasLoaded: row.was_loaded === true,
        keys: row.keys ?? [],
        oldKeys: row.other_keys ?? [],
      })),
    stale: rows
      .filter((row) => !row.fresh)
      .map((row) => ({
        id: row.source_id,
        version: versionOf(row),
        unwantedKeys: (row.other_keys ?? []).filter((key) => !row.keys?.includes(key)),
      })),
  };
}
