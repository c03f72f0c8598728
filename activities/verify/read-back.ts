// The canonical form of what stands in PostgreSQL, computed there from the rows themselves. Its twin is canonical.ts (docs/decisions/0018-verification.md).
import type pg from 'pg';
import type { Mapping } from '../../mappings/mapping.ts';
import { literal, name, query } from '../../stores/postgres/connection.ts';
import type { Column, TableTarget } from '../../stores/postgres/target.ts';
import type { Digest, Item } from './canonical.ts';

/** What a scan of documents takes the rows of: a source collection, its number in the ledger, its mapping. */
export interface Ground {
  readonly mapping: Mapping;
  readonly source: string;
  readonly collectionId: number;
  /** Tables that its rows refer to and that are no part of this migration. */
  readonly absent?: ReadonlySet<string>;
}

/**
 * Keys of one piece. ObjectIds sort alike in both stores, so a range of them also holds what only the target has; other ids are listed.
 * `after` null: from the first; `upTo` null: to the last.
 */
export type Keys =
  { readonly after: string | null; readonly upTo: string | null } | { readonly ids: readonly string[] };

export const tablesOf = (mapping: Mapping): TableTarget[] =>
  mapping.targets.filter((target): target is TableTarget => target.store === 'postgres');

/** Tables that these mappings refer to and that are not there: `collections` named only some, and theirs was not among them. */
export async function absentParents(on: pg.Pool, mappings: readonly Mapping[]): Promise<ReadonlySet<string>> {
  const parents = mappings
    .flatMap(tablesOf)
    .flatMap((target) => Object.values(target.columns).flatMap(({ references }) => references?.table ?? []));
  const rows = await query<{ parent: string }>(
    on,
    'looking for the tables that rows refer to',
    'select distinct parent from unnest($1::text[]) parent where to_regclass(quote_ident(parent)) is null',
    [parents],
  );
  return new Set(rows.map((row) => row.parent));
}

const beforeObjectIds = '/';
const afterObjectIds = 'g';

/** The keys as a condition on a column; its values are $1 (and $2). */
const within = (keys: Keys, column: string): string =>
  'ids' in keys ? `${column} = any($1)` : `${column} > $1 and ${column} <= $2`;
const valuesOf = (keys: Keys): unknown[] =>
  'ids' in keys ? [keys.ids] : [keys.after ?? beforeObjectIds, keys.upTo ?? afterObjectIds];

/** `select source_id, item`: the ledger's word on each key, and every row that belongs to it. `now`: the source's cluster time, as a number in SQL. */
function itemsSql(ground: Ground, keys: Keys, now: string): string {
  const ledger = `migration_control.${name(`ledger_${ground.collectionId}`)}`;
  const parts = [
    `select source_id, json_build_array('ledger', source_id, state::text, source_digest::text, ${micros('place')}, version > ${now}, ${keptHash})::text as item from held`,
    ...tablesOf(ground.mapping).map((target) =>
      rowsSql(target, keys, `join held k on k.source_id = p.source_id and k.state = 'l'`, ground.absent),
    ),
  ];
  return `with held as materialized (select source_id, state, source_digest, place, version, kept from ${ledger} where not deleted and ${within(keys, 'source_id')}),
    items as (${parts.join(' union all ')})`;
}

const keptHash = `encode(sha256(kept), 'hex')`;

/** A table's rows as items; `p` is the row that carries the source id: the row itself, or its parent. */
function rowsSql(target: TableTarget, keys: Keys, join: string, absent?: ReadonlySet<string>): string {
  const row = target.child ? 't' : 'p';
  // Where there is no row to refer to, the column itself is what is compared: nothing.
  const columns = Object.entries(target.columns).map(([column, { references, ...its }]): [string, Column] => [
    column,
    references && !absent?.has(references.table) ? { ...its, references } : its,
  ]);
  const values = columns.flatMap(([column, its], i) => valueSql(`${row}.${name(column)}`, its, `r${i}.source_id`));
  const parents = columns.flatMap(([column, { references }], i) =>
    references ? [`left join ${name(references.table)} r${i} on r${i}.id = ${row}.${name(column)}`] : [],
  );
  const from = target.child
    ? `${name(target.child.of)} p join ${name(target.name)} t on t.${name(target.child.column)} = p.id`
    : `${name(target.name)} p`;
  const item = `json_build_array(${[literal(target.name), 'p.source_id', ...values].join(', ')})::text`;
  return `select p.source_id, ${item} as item from ${from} ${join} ${parents.join(' ')} where ${within(keys, 'p.source_id')}`;
}

const micros = (column: string): string => `trim_scale(extract(epoch from ${column}) * 1000000)::text`;

function valueSql(column: string, its: Column, parent: string): string[] {
  if (its.references) return [`case when ${column} is not null then coalesce(${parent}, '') end`];
  switch (its.type) {
    case 'text':
    case 'boolean':
      return [column];
    case 'bigint':
    case 'integer':
      return [`${column}::text`];
    case 'timestamptz':
      return [micros(column)];
    case 'date':
      return [`case when isfinite(${column}) then (${column} - date '1970-01-01')::text else ${column}::text end`];
    case 'double precision':
      return [`encode(float8send(${column} + 0), 'hex')`];
    case 'jsonb':
      return [`${column} is null`, column];
    default:
      return [`trim_scale(${column})::text`];
  }
}

/** Other ids may lie between ObjectIds; left out last, so that the planner's guess of the range stays right. */
const hashed = (ground: Ground, keys: Keys): string =>
  `select source_id, get_byte(sha256(convert_to(${literal(`${ground.source}:`)} || source_id, 'UTF8')), 0) as bucket, sha256(convert_to(item, 'UTF8')) as hash from items${'ids' in keys ? '' : ' where length(source_id) = 24'}`;
const sums = `count(*) as items, sum(('x' || encode(substring(hash from 1 for 8), 'hex'))::bit(64)::bigint) as high,
  sum(('x' || encode(substring(hash from 9 for 8), 'hex'))::bit(64)::bigint) as low`;

interface DigestRow {
  readonly items: string;
  readonly high: string;
  readonly low: string;
}
const digestOf = (row: DigestRow): Digest => ({
  items: Number(row.items),
  high: BigInt(row.high),
  low: BigInt(row.low),
});

/** A digest per bucket that has anything. */
export async function bucketDigests(
  on: pg.Pool | pg.ClientBase,
  ground: Ground,
  keys: Keys,
  now: bigint,
): Promise<Map<number, Digest>> {
  const rows = await query<DigestRow & { bucket: number }>(
    on,
    `reading back ${ground.source}`,
    `${itemsSql(ground, keys, `${now}`)} select bucket, ${sums} from (${hashed(ground, keys)}) hashed group by bucket`,
    valuesOf(keys),
  );
  return new Map(rows.map((row) => [row.bucket, digestOf(row)]));
}

/** A digest per key of the buckets named. */
export async function keyDigests(
  on: pg.Pool | pg.ClientBase,
  ground: Ground,
  keys: Keys,
  buckets: readonly number[],
  now: bigint,
): Promise<Map<string, Digest>> {
  const rows = await query<DigestRow & { source_id: string }>(
    on,
    `reading back keys of ${ground.source}`,
    `${itemsSql(ground, keys, `${now}`)} select source_id, ${sums} from (${hashed(ground, keys)}) hashed where bucket in (${buckets.join(', ')}) group by source_id`,
    valuesOf(keys),
  );
  return new Map(rows.map((row) => [row.source_id, digestOf(row)]));
}

/** What the ledger holds of a key, in every source collection of its mapping. */
export interface LedgerRow {
  readonly collection_id: number;
  readonly source_id: string;
  readonly version: string;
  readonly deleted: boolean;
  readonly state: 'l' | 'q' | 's';
  readonly rule: string | null;
  readonly item: Item;
}

export async function ledgerRows(
  client: pg.ClientBase,
  collectionIds: readonly number[],
  ids: readonly string[],
  now: bigint,
): Promise<LedgerRow[]> {
  return query<LedgerRow>(
    client,
    'reading the ledger',
    `select collection_id, source_id, version, deleted, state, rule,
       json_build_array('ledger', source_id, state::text, source_digest::text, ${micros('place')}, version > ${now}, ${keptHash})::text as item
     from migration_control.ledger where collection_id = any($2) and source_id = any($1)`,
    [ids, collectionIds],
  );
}

/** Every row of a mapping's tables that carries one of the ids, whatever the ledger says. */
export async function rowItems(
  client: pg.ClientBase,
  { mapping, absent }: Pick<Ground, 'mapping' | 'absent'>,
  ids: readonly string[],
): Promise<{ source_id: string; item: Item }[]> {
  const parts = tablesOf(mapping).map((target) => rowsSql(target, { ids }, '', absent));
  if (parts.length === 0) return [];
  return query(client, `reading back ${mapping.collection}`, parts.join(' union all '), [ids]);
}

/** Statistics for the planner, which otherwise guesses how many keys lie in a range. */
export async function analyse(on: pg.Pool, { collectionId, mapping, source }: Ground): Promise<void> {
  const tables = [
    `migration_control.${name(`ledger_${collectionId}`)}`,
    ...tablesOf(mapping).map((one) => name(one.name)),
  ];
  await query(on, `analysing ${source}`, `analyze ${tables.join(', ')}`);
}
