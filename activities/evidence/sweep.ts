// A rolling comparison of the ledger with the targets that is cheap enough for every interval: who is missing, and which rows somebody else
// has written. The migration writes a row and its ledger row in one transaction, so both carry its number (xmin); another writer's do not.
import type pg from 'pg';
import type { Mapping } from '../../mappings/mapping.ts';
import { idsKnown } from '../../control/long-keys.ts';
import { KnownFailure } from '../../core/failures.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { idsAmong } from '../../stores/mongodb/source.ts';
import { name, query } from '../../stores/postgres/connection.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import type { Resources } from '../resources.ts';
import type { Enrolled } from './keys.ts';

/** Ledger keys looked at per interval and target: fewer where that took too long, as many as this again when it did not. */
const rowsAtOnce = { most: 200_000, least: 1000 };
const documentsAtOnce = 2000;
const mostSuspects = 300;

/** Documents to be compared: absent from a target, or with a row of another transaction. Goes on where the last sweep ended. */
export async function sweep(resources: Resources, mapping: Mapping, one: Enrolled): Promise<string[]> {
  const suspects = new Set<string>();
  for (const target of mapping.targets) {
    if (target.store === 'postgres' && !(target as TableTarget).child)
      for (const id of await sweepRows(resources.postgres, target as TableTarget, one)) suspects.add(id);
    if (target.store === 'mongodb')
      for (const id of await sweepDocuments(resources, target.name, one)) suspects.add(id);
  }
  return [...suspects];
}

interface Place {
  readonly after: string;
  readonly keys: number;
}

async function placeOf(pool: pg.Pool, { id }: Enrolled, target: string): Promise<Place> {
  const [row] = await query<{ after_id: string | null; keys: number | null }>(
    pool,
    'reading the sweep',
    'select after_id, keys from migration_control.sweeps where collection_id = $1 and target = $2',
    [id, target],
  );
  return { after: row?.after_id ?? '', keys: row?.keys ?? rowsAtOnce.most };
}

/** `after`: null begins anew. */
const keepPlace = (pool: pg.Pool, { id }: Enrolled, target: string, after: string | null, keys: number) =>
  query(
    pool,
    'keeping the sweep',
    `insert into migration_control.sweeps (collection_id, target, after_id, keys) values ($1, $2, $3, $4)
     on conflict (collection_id, target) do update set after_id = excluded.after_id, keys = excluded.keys`,
    [id, target, after, keys],
  );

const sliceOf = ({ id }: Enrolled, most: number) =>
  `select source_id, xmin::text as writer, place from migration_control.${name(`ledger_${id}`)}
   where source_id > $1 and state = 'l' and not deleted order by source_id limit ${most}`;

/** The newest writers first. Without numbers of transactions (compressed chunks have none) only who is missing is found. */
async function sweepRows(pool: pg.Pool, target: TableTarget, one: Enrolled): Promise<string[]> {
  const { after, keys } = await placeOf(pool, one, target.name);
  const join = `left join ${name(target.name)} t on t.source_id = s.source_id${target.time === undefined ? '' : ` and t.${name(target.time)} = s.place`}`;
  const look = (foreign: string, order: string) =>
    query<{ last: string | null; rows: number; suspects: string[] | null }>(
      pool,
      `comparing the keys of ${target.name}`,
      `with slice as materialized (${sliceOf(one, keys)}),
            odd as (select s.source_id from slice s ${join} where t.source_id is null${foreign} order by ${order} limit ${mostSuspects})
       select (select max(source_id) from slice) as last, (select count(*) from slice)::integer as rows, (select array_agg(source_id) from odd) as suspects`,
      [after],
    );
  const [found] = await look(' or t.xmin::text <> s.writer', 'age(t.xmin) nulls first').catch(
    async (error: unknown) => {
      if (error instanceof KnownFailure && error.type === 'Defect') return look('', 's.source_id');
      if (error instanceof KnownFailure && error.type === 'StoreBusy')
        await keepPlace(pool, one, target.name, after, Math.max(rowsAtOnce.least, Math.floor(keys / 4)));
      throw error;
    },
  );
  const next = found!.rows < keys ? null : found!.last;
  await keepPlace(pool, one, target.name, next, Math.min(rowsAtOnce.most, keys * 2));
  return found!.suspects ?? [];
}

async function sweepDocuments(resources: Resources, target: string, one: Enrolled): Promise<string[]> {
  const { after } = await placeOf(resources.postgres, one, target);
  const slice = await query<{ source_id: string }>(
    resources.postgres,
    'reading loaded keys',
    sliceOf(one, documentsAtOnce),
    [after],
  );
  const missing: string[] = [];
  for (let i = 0; i < slice.length; i += 500) {
    const ids = slice.slice(i, i + 500).map((row) => row.source_id);
    const there = new Set(await idsAmong(resources.mongodb.db, target, await idsKnown(resources.postgres, ids)));
    missing.push(...ids.filter((id) => !there.has(id)));
  }
  const next = slice.length < documentsAtOnce ? null : slice.at(-1)!.source_id;
  await keepPlace(resources.postgres, one, target, next, documentsAtOnce);
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
    const there = await mongo(`counting ${target}`, () =>
      resources.mongodb.db.collection(target).estimatedDocumentCount(),
    );
    least = Math.min(least, Number(row!.loaded) - Number(there));
  }
  return Math.max(0, least);
}
