// Aggregate invariants: rows and sums per group, equal in source and target, exact, as of a cluster time while the application writes.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import type pg from 'pg';
import { shownUpTo } from '../../control/capture.ts';
import { decode } from '../../core/bson/decode.ts';
import { idsKnown } from '../../control/long-keys.ts';
import { sourceIdOf } from '../../core/identity.ts';
import { Quarantined, refusedRule, sameIdRule } from '../../core/quarantine.ts';
import type { Invariant, Mapping } from '../../mappings/mapping.ts';
import { transformDocument } from '../../mappings/transform.ts';

import { collectionNames } from '../../stores/mongodb/schema.ts';
import { batchesOf, clusterTimeOf, readDocuments } from '../../stores/mongodb/source.ts';
import { inTransaction, literal, name, query } from '../../stores/postgres/connection.ts';
import { columnsOf, encoderOf } from '../../stores/postgres/copy.ts';
import type { Row, TableTarget } from '../../stores/postgres/target.ts';
import { Breath } from '../breath.ts';
import type { Resources } from '../resources.ts';
import { caughtUp } from '../settled.ts';
import type { ValidationOrder } from '../validate.ts';

/** Documents that changed while the source was read are read again; what goes on changing is left out, and counted. */
const generations = 3;
const readAgainAtMost = 5000;
/** The rows the source should have become. */
const stage = 'invariant_rows';

export interface HeldInvariant {
  readonly invariant: string;
  readonly status: 'passed' | 'failed';
  readonly groups: number;
  readonly differing: number;
  /** The cluster time it holds for; null without change capture, when nothing is written. */
  readonly asOf: string | null;
  /** Documents written after that time: in neither sum. */
  readonly open: number;
  readonly examples: readonly unknown[];
}

/**
 * Rows that the source should have become stand in a temporary table, columns of the invariant only, typed as the target's; PostgreSQL sums
 * both sides in one statement, in exact decimal. Documents whose ledger version is above the cut are on neither side, so that a write
 * during the check is no difference.
 */
export async function holdsInvariant(
  resources: Resources,
  mapping: Mapping,
  invariant: Invariant,
  order: ValidationOrder,
  heartbeat: () => void,
): Promise<HeldInvariant> {
  const target = partOf(mapping, invariant);
  const feeds = await query<{ id: number; source: string }>(
    resources.postgres,
    'reading collections',
    'select id, source from migration_control.collections where mapping = $1',
    [mapping.collection],
  );
  const there = new Set(await collectionNames(resources.source.db));
  const present = feeds.filter(({ source }) => there.has(source));
  const linesOf = lineMaker(mapping, target, order);
  // Not the server's own time: a transaction that is about to commit may be older than that, and missing in the read.
  let cut = (await shownUpTo(resources.postgres)) ?? (await clusterTimeOf(resources.source.db));
  return inTransaction(resources.postgres, `checking ${invariant.name}`, async (client) => {
    const types = Object.entries(target.columns).map(([column, its]) => `${name(column)} ${its.type}`);
    await client.query(
      `create temporary table ${stage} (source_id text collate "C", ${types.join(', ')}, feed smallint) on commit drop`,
    );
    const put = (lines: AsyncIterable<string> | Iterable<string>) =>
      pipeline(
        Readable.from(lines),
        client.query(copyFrom(`copy ${stage} (${[...columnsOf(target).map(name), 'feed'].join(', ')}) from stdin`)),
      );
    for (const { id, source } of present) await put(everyLine(resources, id, source, linesOf, heartbeat));
    // The next cut is taken before capture has caught up: every change up to it is then known, and its document read again after it.
    let next = await clusterTimeOf(resources.source.db);
    let live = await caughtUp(resources, heartbeat);
    for (let n = 1; live && n < generations; n++) {
      const changed = await changedSince(client, feeds, cut);
      if (changed.length === 0 || changed.length > readAgainAtMost) break;
      for (const { id, source } of present) {
        const ids = changed.filter((one) => one.collection_id === id).map((one) => one.source_id);
        if (ids.length === 0) continue;
        const { client: mongoClient, db } = resources.source;
        const { documents } = await readDocuments(mongoClient, db, source, await idsKnown(client, ids));
        await client.query(`delete from ${stage} where feed = $1 and source_id = any($2)`, [id, ids]);
        await put([...documents.values()].flatMap((raw) => linesOf(id, raw)));
      }
      cut = next;
      next = await clusterTimeOf(resources.source.db);
      live = await caughtUp(resources, heartbeat);
    }
    await client.query(`analyze ${stage}`);
    return compare(client, target, mapping, invariant, feeds, {
      cut: live ? cut : undefined,
      zone: order.transform.zone,
    });
  });
}

/** The table with no columns but those the invariant names. */
function partOf(mapping: Mapping, invariant: Invariant): TableTarget {
  const target = mapping.targets.find((one) => one.store === 'postgres' && one.name === invariant.table) as
    TableTarget | undefined;
  const wanted = [
    ...invariant.by,
    ...(invariant.localDay === undefined ? [] : [invariant.localDay]),
    ...invariant.sums,
  ];
  if (!target || target.child || wanted.some((column) => !target.columns[column]))
    throw new RangeError(
      `the invariant ${invariant.name} of ${mapping.collection} names a table or column that its mapping does not declare`,
    );
  const inexact = invariant.sums.find((column) => target.columns[column]!.type === 'double precision');
  if (inexact !== undefined)
    throw new RangeError(
      `the invariant ${invariant.name} sums ${inexact}, which is not exact: its sum depends on the order`,
    );
  const columns = Object.fromEntries(wanted.map((column) => [column, target.columns[column]!]));
  return { store: 'postgres', name: target.name, columns };
}

/** COPY lines of what a document becomes in the table; none for a document that does not load. */
function lineMaker(mapping: Mapping, target: TableTarget, order: ValidationOrder) {
  const encode = encoderOf(target);
  const whole = encoderOf(mapping.targets.find((one) => one.name === target.name) as TableTarget);
  const columns = Object.keys(target.columns);
  return (feed: number, raw: Uint8Array): string[] => {
    const document = decode(raw);
    const result = transformDocument(mapping, document, order.transform);
    if (result.state !== 'loaded') return [];
    const id = sourceIdOf(raw);
    try {
      return ((result.outcome[target.name] ?? []) as readonly Row[]).map((row) => {
        // What the loader's encoder refuses does not load either.
        whole(id, withoutReferences(mapping, target.name, row));
        const line = encode(id, Object.fromEntries(columns.map((column) => [column, row[column]])));
        return `${line.slice(0, -1)}\t${feed}\n`;
      });
    } catch (error) {
      if (error instanceof Quarantined || error instanceof TypeError) return [];
      throw error;
    }
  };
}

function withoutReferences(mapping: Mapping, table: string, row: Row): Row {
  const target = mapping.targets.find((one) => one.name === table) as TableTarget;
  const result = { ...row };
  for (const [column, its] of Object.entries(target.columns)) if (its.references) result[column] = null;
  return result;
}

async function* everyLine(
  resources: Resources,
  feed: number,
  source: string,
  linesOf: (feed: number, raw: Uint8Array) => string[],
  heartbeat: () => void,
): AsyncGenerator<string> {
  const breath = new Breath();
  for await (const batch of batchesOf(resources.source.db, source)) {
    heartbeat();
    const lines: string[] = [];
    for (const raw of batch) {
      await breath.take();
      lines.push(...linesOf(feed, raw));
    }
    yield lines.join('');
  }
}

async function changedSince(client: pg.ClientBase, feeds: readonly { id: number }[], cut: bigint) {
  const { rows } = await client.query<{ collection_id: number; source_id: string }>(
    `select collection_id, source_id from migration_control.ledger where collection_id = any($1) and version > $2 limit ${readAgainAtMost + 1}`,
    [feeds.map((feed) => feed.id), cut.toString()],
  );
  return rows;
}

async function compare(
  client: pg.ClientBase,
  target: TableTarget,
  mapping: Mapping,
  invariant: Invariant,
  feeds: readonly { id: number }[],
  { cut, zone }: { cut: bigint | undefined; zone: string },
): Promise<HeldInvariant> {
  const group = [
    ...invariant.by.map((column) => `${name(column)}::text as ${name(column)}`),
    ...(invariant.localDay === undefined
      ? []
      : [`((${name(invariant.localDay)} at time zone ${literal(zone)})::date)::text as local_day`]),
  ];
  const keys = [...invariant.by.map(name), ...(invariant.localDay === undefined ? [] : ['local_day'])];
  const sides = (side: 'source' | 'target') =>
    invariant.sums.flatMap((column, i) =>
      side === 'source' ? [`${name(column)} as s${i}`, `0 as t${i}`] : ['0', name(column)],
    );
  const totals = invariant.sums.map((_, i) => `coalesce(sum(s${i}), 0) as s${i}, coalesce(sum(t${i}), 0) as t${i}`);
  const unequal = ['n <> m', ...invariant.sums.map((_, i) => `s${i} <> t${i}`)].join(' or ');
  const shown = [
    ...keys.flatMap((key) => [literal(key.replaceAll('"', '')), key]),
    `'rows'`,
    'jsonb_build_array(n, m)',
    ...invariant.sums.flatMap((column, i) => [literal(column), `jsonb_build_array(s${i}::text, t${i}::text)`]),
  ];
  const { rows } = await client.query<{ groups: string; differing: string; open: string; examples: unknown[] | null }>(
    `with open as materialized (select source_id from migration_control.ledger where collection_id = any($1) and version > $2),
          lost as materialized (select collection_id, source_id from migration_control.ledger where collection_id = any($1) and state = 'q' and rule = any($3) and not deleted),
          both_sides as (
            select ${[...group, ...sides('source')].join(', ')}, 1 as n, 0 as m from ${stage} e
              where not exists (select 1 from open where open.source_id = e.source_id) and not exists (select 1 from lost where lost.collection_id = e.feed and lost.source_id = e.source_id)
            union all
            select ${[...group, ...sides('target')].join(', ')}, 0, 1 from ${name(target.name)} e where not exists (select 1 from open where open.source_id = e.source_id)),
          summed as (select ${[...keys, ...totals, 'sum(n) as n', 'sum(m) as m'].join(', ')} from both_sides ${keys.length > 0 ? `group by ${keys.join(', ')}` : ''})
     select count(*) as groups, count(*) filter (where ${unequal}) as differing, (select count(*) from open) as open,
            (select jsonb_agg(one) from (select jsonb_build_object(${shown.join(', ')}) as one from summed where ${unequal} limit 10) few) as examples
     from summed`,
    [
      feeds.map((feed) => feed.id),
      (cut ?? 9223372036854775807n).toString(),
      // Of itself it would load; another document or a store stands in its way.
      [...mapping.unique.map((rule) => rule.rule), sameIdRule, refusedRule],
    ],
  );
  const found = rows[0]!;
  return {
    invariant: invariant.name,
    status: found.differing === '0' ? 'passed' : 'failed',
    groups: Number(found.groups),
    differing: Number(found.differing),
    asOf: cut === undefined ? null : `${cut >> 32n}.${cut & 0xffffffffn}`,
    open: Number(found.open),
    examples: found.examples ?? [],
  };
}
