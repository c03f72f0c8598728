// source = loaded + quarantined + skipped, key by key: the source's keys against the ledger, the ledger against the target's rows.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { deserialize } from 'bson';
import { from as copyFrom } from 'pg-copy-streams';
import type pg from 'pg';
import { sourceId } from '../core/identity.ts';
import { batchesOf } from '../stores/mongodb/source.ts';
import { collectionNames } from '../stores/mongodb/schema.ts';
import { inTransaction, name } from '../stores/postgres/connection.ts';
import { escape } from '../stores/postgres/copy.ts';
import type { TableTarget } from '../stores/postgres/target.ts';
import { mappingOf, type Resources } from './resources.ts';
import type { CheckResult } from './validate.ts';

const exampleCount = 10;

/** Streams every key of the source into a temporary table beside the ledger and lets PostgreSQL find what stands on one side only. */
export async function accountFor(
  resources: Resources,
  collection: string,
  quarantineBudget: number,
  heartbeat: () => void,
): Promise<CheckResult> {
  const mapping = mappingOf(resources, collection);
  const there = new Set(await collectionNames(resources.source.db));
  const sources = [mapping.collection, ...mapping.aliases].filter((source) => there.has(source));
  return inTransaction(resources.postgres, `accounting for ${collection}`, async (client) => {
    const { rows: ids } = await client.query<{ id: number; source: string }>(
      'select id, source from migration_control.collections where mapping = $1',
      [collection],
    );
    const known = new Map(ids.map(({ id, source }) => [source, id]));
    await client.query(
      'create temporary table source_keys (collection_id smallint, source_id text collate "C") on commit drop',
    );
    const unknown = sources.filter((source) => !known.has(source));
    await pipeline(
      Readable.from(keyLines(resources, known, sources, heartbeat)),
      client.query(copyFrom('copy source_keys from stdin')),
    );
    await client.query('analyze source_keys');
    const account = await compareKeys(client, collection);
    const rows = await compareRows(
      client,
      mapping.targets.filter((target): target is TableTarget => target.store === 'postgres'),
      [...known.values()],
    );
    const documents = await compareDocuments(
      resources,
      mapping.targets.filter((target) => target.store === 'mongodb').map((target) => target.name),
      account.loaded,
    );
    const share = account.source === 0 ? 0 : account.quarantined / account.source;
    const failed =
      account.missing > 0 ||
      account.extra > 0 ||
      unknown.length > 0 ||
      [...rows, ...documents].some((one) => one.missing > 0 || one.extra > 0) ||
      share > quarantineBudget;
    return {
      status: failed ? 'failed' : 'passed',
      details: {
        ...account,
        not_enrolled: unknown,
        targets: [...rows, ...documents],
        quarantine_share: share,
        quarantine_budget: quarantineBudget,
      },
    };
  });
}

async function* keyLines(
  resources: Resources,
  known: ReadonlyMap<string, number>,
  sources: readonly string[],
  heartbeat: () => void,
): AsyncGenerator<string> {
  for (const source of sources) {
    const id = known.get(source);
    if (id === undefined) continue;
    for await (const batch of batchesOf(resources.source.db, source, { _id: 1 }, {}, 5000)) {
      heartbeat();
      yield batch
        .map(
          (raw) =>
            `${id}\t${escape(sourceId(deserialize(raw, { promoteValues: false, promoteLongs: false })['_id']))}\n`,
        )
        .join('');
    }
  }
}

async function compareKeys(client: pg.ClientBase, collection: string) {
  const { rows } = await client.query<
    Record<'source' | 'loaded' | 'quarantined' | 'skipped' | 'missing' | 'extra', string> & {
      examples: string[] | null;
    }
  >(
    `with ours as (select l.* from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id where c.mapping = $1 and not l.deleted),
          both_sides as (select s.source_id as in_source, o.source_id as in_ledger, o.state from source_keys s full join ours o using (collection_id, source_id))
     select count(in_source) as source, count(*) filter (where state = 'l') as loaded, count(*) filter (where state = 'q') as quarantined,
            count(*) filter (where state = 's') as skipped, count(*) filter (where in_ledger is null) as missing, count(*) filter (where in_source is null) as extra,
            (array_agg(coalesce(in_source, in_ledger)) filter (where in_ledger is null or in_source is null))[1:${exampleCount}] as examples
     from both_sides`,
    [collection],
  );
  const { examples, ...counts } = rows[0]!;
  const numbers = Object.fromEntries(Object.entries(counts).map(([key, value]) => [key, Number(value)])) as Record<
    'source' | 'loaded' | 'quarantined' | 'skipped' | 'missing' | 'extra',
    number
  >;
  return { ...numbers, examples: examples ?? [] };
}

interface TargetAccount {
  readonly target: string;
  readonly missing: number;
  readonly extra: number;
}

/** Every loaded key has a row, and every row a loaded key. */
async function compareRows(
  client: pg.ClientBase,
  targets: readonly TableTarget[],
  ids: readonly number[],
): Promise<TargetAccount[]> {
  const result: TargetAccount[] = [];
  for (const target of targets.filter((one) => !one.child)) {
    const { rows } = await client.query<{ missing: string; extra: string }>(
      `with loaded as (select source_id from migration_control.ledger where collection_id = any($1) and state = 'l' and not deleted)
       select count(*) filter (where t.source_id is null) as missing, count(*) filter (where l.source_id is null) as extra
       from loaded l full join ${name(target.name)} t on t.source_id = l.source_id where t.source_id is null or l.source_id is null`,
      [ids],
    );
    result.push({ target: target.name, missing: Number(rows[0]!.missing), extra: Number(rows[0]!.extra) });
  }
  return result;
}

async function compareDocuments(
  resources: Resources,
  targets: readonly string[],
  loaded: number,
): Promise<TargetAccount[]> {
  const result: TargetAccount[] = [];
  for (const target of targets) {
    const documents = await resources.mongodb.db.collection(target).countDocuments({});
    result.push({ target, missing: Math.max(0, loaded - documents), extra: Math.max(0, documents - loaded) });
  }
  return result;
}
