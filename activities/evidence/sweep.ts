// A rolling comparison of the ledger with the targets that is cheap enough for every interval: who is missing, and which rows somebody else
// has written. The migration writes a row and its ledger row in one transaction, so both carry its number (xmin); another writer's do not.
import type pg from 'pg';
import type { Mapping } from '../../mappings/mapping.ts';
import { idFromSourceId, sourceId } from '../../core/identity.ts';
import { KnownFailure } from '../../core/failures.ts';
import { idsAmong } from '../../stores/mongodb/source.ts';
import { name, query } from '../../stores/postgres/connection.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import type { Resources } from '../resources.ts';
import type { Enrolled } from './keys.ts';

export interface Swept {
  /** Documents to be compared: absent from a target, or with a row of another transaction. */
  readonly suspects: readonly string[];
}

/** Ledger keys looked at per interval and target, and suspects taken from them. */
const rowsAtOnce = 200_000;
const documentsAtOnce = 2000;
const mostSuspects = 300;

/** Goes on where the last sweep of the collection ended. */
export async function sweep(resources: Resources, mapping: Mapping, one: Enrolled): Promise<Swept> {
  const suspects = new Set<string>();
  for (const target of mapping.targets) {
    if (target.store === 'postgres' && !(target as TableTarget).child)
      for (const id of await sweepRows(resources.postgres, target as TableTarget, one)) suspects.add(id);
    if (target.store === 'mongodb')
      for (const id of await sweepDocuments(resources, target.name, one)) suspects.add(id);
  }
  return { suspects: [...suspects] };
}

const placeOf = async (pool: pg.Pool, { id }: Enrolled, target: string): Promise<string> =>
  (
    await query<{ after_id: string | null }>(
      pool,
      'reading the sweep',
      'select after_id from migration_control.sweeps where collection_id = $1 and target = $2',
      [id, target],
    )
  )[0]?.after_id ?? '';

const keepPlace = (pool: pg.Pool, { id }: Enrolled, target: string, after: string | null) =>
  query(
    pool,
    'keeping the sweep',
    `insert into migration_control.sweeps (collection_id, target, after_id) values ($1, $2, $3)
     on conflict (collection_id, target) do update set after_id = excluded.after_id`,
    [id, target, after],
  );

const sliceOf = ({ id }: Enrolled, most: number) =>
  `select source_id, xmin::text as writer, place from migration_control.${name(`ledger_${id}`)}
   where source_id > $1 and state = 'l' and not deleted order by source_id limit ${most}`;

/** The newest writers first. Without numbers of transactions (compressed chunks have none) only who is missing is found. */
async function sweepRows(pool: pg.Pool, target: TableTarget, one: Enrolled): Promise<string[]> {
  const after = await placeOf(pool, one, target.name);
  const join = `left join ${name(target.name)} t on t.source_id = s.source_id${target.time === undefined ? '' : ` and t.${name(target.time)} = s.place`}`;
  const look = (foreign: string, order: string) =>
    query<{ last: string | null; rows: number; suspects: string[] | null }>(
      pool,
      `comparing the keys of ${target.name}`,
      `with slice as materialized (${sliceOf(one, rowsAtOnce)}),
            odd as (select s.source_id from slice s ${join} where t.source_id is null${foreign} order by ${order} limit ${mostSuspects})
       select (select max(source_id) from slice) as last, (select count(*) from slice)::integer as rows, (select array_agg(source_id) from odd) as suspects`,
      [after],
    );
  const [found] = await look(' or t.xmin::text <> s.writer', 'age(t.xmin) nulls first').catch((error: unknown) => {
    if (error instanceof KnownFailure && error.type === 'Defect') return look('', 's.source_id');
    throw error;
  });
  await keepPlace(pool, one, target.name, found!.rows < rowsAtOnce ? null : found!.last);
  return found!.suspects ?? [];
}

async function sweepDocuments(resources: Resources, target: string, one: Enrolled): Promise<string[]> {
  const after = await placeOf(resources.postgres, one, target);
  const slice = await query<{ source_id: string }>(
    resources.postgres,
    'reading loaded keys',
    sliceOf(one, documentsAtOnce),
    [after],
  );
  const missing: string[] = [];
  for (let i = 0; i < slice.length; i += 500) {
    const ids = slice.slice(i, i + 500).map((row) => row.source_id);
    const there = new Set(
      (await idsAmong(resources.mongodb.db, target, ids.map(idFromSourceId))).map((id) => sourceId(id)),
    );
    missing.push(...ids.filter((id) => !there.has(id)));
  }
  await keepPlace(resources.postgres, one, target, slice.length < documentsAtOnce ? null : slice.at(-1)!.source_id);
  return missing.slice(0, mostSuspects);
}

/** Loaded documents less rows or documents of each target, the worst of them; never below 0. */
export async function deficit(resources: Resources, mapping: Mapping, enrolled: readonly Enrolled[]): Promise<number> {
  const ids = enrolled.map((one) => one.id);
  const loaded = `(select count(*) from migration_control.ledger where collection_id = any($1) and state = 'l' and not deleted)`;
  let worst = 0;
  for (const target of mapping.targets) {
    if (target.store === 'postgres' && !(target as TableTarget).child) {
      // One statement, one snapshot: rows and ledger commit together.
      const [row] = await query<{ missing: string }>(
        resources.postgres,
        `counting ${target.name}`,
        `select ${loaded} - (select count(*) from ${name(target.name)}) as missing`,
        [ids],
      );
      worst = Math.max(worst, Number(row!.missing));
    }
    if (target.store === 'mongodb') worst = Math.max(worst, await documentDeficit(resources, target.name, loaded, ids));
  }
  return worst;
}

/** Documents go before their ledger rows say so: what is missing at every look is missing. */
async function documentDeficit(
  resources: Resources,
  target: string,
  loaded: string,
  ids: readonly number[],
): Promise<number> {
  let least = Infinity;
  for (let look = 0; look < 3 && least > 0; look++) {
    const [row] = await query<{ loaded: string }>(resources.postgres, 'counting loaded', `select ${loaded} as loaded`, [
      ids,
    ]);
    const there = await resources.mongodb.db.collection(target).estimatedDocumentCount();
    least = Math.min(least, Number(row!.loaded) - there);
  }
  return Math.max(0, least);
}
