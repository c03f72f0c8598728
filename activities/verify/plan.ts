// What a verification goes through: every source collection, then every target, for what the sources do not explain.
import { KnownFailure } from '../../core/failures.ts';
import type { PlannedScan } from '../../control/verification.ts';
import { weigh } from '../../stores/mongodb/ranges.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { wrongDatabase } from '../../stores/mongodb/surroundings.ts';
import { query } from '../../stores/postgres/connection.ts';
import type { Resources } from '../resources.ts';
import { groupBy } from './group.ts';
import { tablesOf, type Ground } from './read-back.ts';

export async function planScans(resources: Resources, scope: readonly Ground[]): Promise<PlannedScan[]> {
  const there = new Set(await collectionNames(resources.source.db));
  // Against another database every row would be one too many, and a repair would remove it.
  const known = new Set(scope.map((one) => one.source));
  if (![...known].some((name) => there.has(name))) {
    const { db, client } = resources.source;
    throw new KnownFailure('PreflightFailed', await wrongDatabase(db, client, known));
  }
  const weightOf = async (source: string) =>
    there.has(source) ? (await weigh(resources.source.db, source)).documents : 0;
  const scans: PlannedScan[] = [];
  for (const { mapping, source, collectionId } of scope) {
    const common = { mapping: mapping.collection, source, collectionId };
    scans.push({ kind: 'documents', ...common, total: await weightOf(source) });
    scans.push({ kind: 'ledger', ...common, total: 0 });
  }
  for (const mapping of groupBy(scope, (one) => one.mapping).keys())
    for (const target of mapping.targets) {
      const common = { mapping: mapping.collection, target: target.name };
      if (target.store === 'postgres' && tablesOf(mapping).some((one) => one.name === target.name && !one.child))
        scans.push({ kind: 'rows', ...common, total: await rowsOf(resources, target.name) });
      if (target.store === 'mongodb')
        scans.push({ kind: 'copies', ...common, total: (await weigh(resources.mongodb.db, target.name)).documents });
      if (target.store === 'redis') scans.push({ kind: 'keys', ...common, total: 0 });
      if (target.store === 'files') scans.push({ kind: 'files', ...common, total: 0 });
    }
  return scans;
}

/** As the statistics have it: exact enough for a bar. */
async function rowsOf({ postgres }: Resources, table: string): Promise<number> {
  const [row] = await query<{ rows: string }>(
    postgres,
    `weighing ${table}`,
    `select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint as rows from pg_class c
     where c.relkind = 'r' and (c.oid = to_regclass($1) or c.oid in (select relid from pg_partition_tree(to_regclass($1))))`,
    [`"${table}"`],
  );
  return Number(row!.rows);
}
