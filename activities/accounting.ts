// source = loaded + quarantined + skipped, key by key: the source's keys against the ledger, the ledger against the target's rows.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import type pg from 'pg';
import { idsKnown } from '../control/long-keys.ts';
import { routesOf } from '../control/routing.ts';
import { judgeQuarantine } from '../core/quarantine.ts';
import { sourceIdOf } from '../core/identity.ts';
import { batchesOf, idsAmong } from '../stores/mongodb/source.ts';
import { collectionNames } from '../stores/mongodb/schema.ts';
import { inTransaction, name, query } from '../stores/postgres/connection.ts';
import { escape } from '../stores/postgres/copy.ts';
import type { TableTarget } from '../stores/postgres/target.ts';
import { mappingOf, type Resources } from './resources.ts';
import { mostUnderWay, untilSettled } from './settled.ts';
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
  const enrolled = await query<{ id: number; source: string }>(
    resources.postgres,
    'reading collections',
    'select id, source from migration_control.collections where mapping = $1',
    [collection],
  );
  const known = new Map(enrolled.map(({ id, source }) => [source, id]));
  const unknown = sources.filter((source) => !known.has(source));
  const movedBefore = await haveMoved(resources, collection);
  const first = await inTransaction(resources.postgres, `accounting for ${collection}`, async (client) => {
    await client.query(
      'create temporary table source_keys (collection_id smallint, source_id text collate "C") on commit drop',
    );
    await pipeline(
      Readable.from(keyLines(resources, known, sources, heartbeat)),
      client.query(copyFrom('copy source_keys from stdin')),
    );
    await client.query('analyze source_keys');
    return {
      account: await compareKeys(client, collection),
      rows: await compareRows(
        client,
        mapping.targets.filter((target): target is TableTarget => target.store === 'postgres'),
        [...known.values()],
      ),
    };
  });
  const { differing, ...counts } = first.account;
  const left = await untilSettled(resources, differing, (keys) => stillDiffering(resources, known, keys), heartbeat);
  const account = {
    ...counts,
    missing: left.filter((key) => key.in === 'source').length,
    extra: left.filter((key) => key.in === 'ledger').length,
    examples: left.slice(0, exampleCount).map((key) => key.id),
  };
  const ids = [...known.values()];
  const moved = movedBefore || (await haveMoved(resources, collection));
  const rows = [];
  for (const { differing: lone, ...one } of first.rows)
    rows.push(moved ? await settledRows(resources, { ...one, differing: lone }, ids, heartbeat) : one);
  const documents = [];
  for (const target of mapping.targets.filter((one) => one.store === 'mongodb'))
    documents.push(await compareDocuments(resources, target.name, ids, heartbeat));
  const { source, quarantined, missing, extra } = account;
  const quarantine = judgeQuarantine([{ collection, documents: source, quarantined }], quarantineBudget);
  const targets = [...rows, ...documents];
  const why = whyNot({ missing, extra, unknown, targets, quarantine: quarantine.reason });
  return {
    status: why.length > 0 ? 'failed' : 'passed',
    ...(why.length > 0 && { why: why.join(' ') }),
    details: {
      ...account,
      not_enrolled: unknown,
      targets,
      quarantine_share: quarantine.total.share,
      quarantine_budget: quarantineBudget,
    },
  };
}

interface Found {
  readonly missing: number;
  readonly extra: number;
  readonly unknown: readonly string[];
  readonly targets: readonly { readonly target: string; readonly missing: number; readonly extra: number }[];
  readonly quarantine: string;
}

/** A sentence for each thing that is not as it should be. Of documents only numbers. */
export function whyNot({ missing, extra, unknown, targets, quarantine }: Found): string[] {
  const differing = targets.filter((one) => one.missing > 0 || one.extra > 0);
  return [
    ...(missing > 0 ? [`${missing} documents of the source are accounted for nowhere.`] : []),
    ...(extra > 0 ? [`${extra} documents are accounted for that the source does not have.`] : []),
    ...(unknown.length > 0 ? [`Nothing was read of ${unknown.join(', ')}.`] : []),
    ...differing.map((one) => `In ${one.target} ${one.missing} are missing and ${one.extra} too many.`),
    ...(quarantine === '' ? [] : [quarantine]),
  ];
}

/** Whether the application writes to the new system: its rows are then not written in one transaction with the ledger. */
const haveMoved = async ({ postgres }: Resources, collection: string): Promise<boolean> =>
  (await routesOf(postgres))[collection]?.writeMode === 'new_system';

/** A key that stands on one side only. */
interface LoneKey {
  readonly collectionId: number;
  readonly id: string;
  readonly in: 'source' | 'ledger';
}

async function stillDiffering(
  resources: Resources,
  known: ReadonlyMap<string, number>,
  keys: readonly LoneKey[],
): Promise<LoneKey[]> {
  const left: LoneKey[] = [];
  for (const [source, collectionId] of known) {
    const own = keys.filter((key) => key.collectionId === collectionId).map((key) => key.id);
    for (let i = 0; i < own.length; i += 500) {
      const ids = own.slice(i, i + 500);
      const inLedger = await keysInLedger(resources, collectionId, ids, `not deleted`);
      const inSource = new Set(await idsAmong(resources.source.db, source, await idsKnown(resources.postgres, ids)));
      for (const id of ids)
        if (inSource.has(id) !== inLedger.has(id))
          left.push({ collectionId, id, in: inSource.has(id) ? 'source' : 'ledger' });
    }
  }
  return left;
}

async function keysInLedger(
  resources: Resources,
  collectionId: number,
  ids: readonly string[],
  condition: string,
): Promise<Set<string>> {
  const rows = await query<{ source_id: string }>(
    resources.postgres,
    'looking into the ledger',
    `select source_id from migration_control.ledger where collection_id = $1 and source_id = any($2) and ${condition}`,
    [collectionId, ids],
  );
  return new Set(rows.map((row) => row.source_id));
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
    for await (const batch of batchesOf(resources.source.db, source, { _id: 1 }, 5000)) {
      heartbeat();
      yield batch.map((raw) => `${id}\t${escape(sourceIdOf(raw))}\n`).join('');
    }
  }
}

/** Documents of the target that are looked at again, in one command. */
const mostDocuments = 20_000;

/** As many differing keys as are looked at again, and one more. */
const mostDiffering = mostUnderWay + 1;

async function compareKeys(client: pg.ClientBase, collection: string) {
  const { rows } = await client.query<
    Record<'source' | 'loaded' | 'quarantined' | 'skipped', string> & {
      differing: { collectionId: number; id: string; in: LoneKey['in'] }[] | null;
    }
  >(
    `with ours as (select l.* from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id where c.mapping = $1 and not l.deleted),
          both_sides as (select collection_id, source_id, s.source_id as in_source, o.source_id as in_ledger, o.state from source_keys s full join ours o using (collection_id, source_id))
     select count(in_source) as source, count(*) filter (where state = 'l') as loaded, count(*) filter (where state = 'q') as quarantined,
            count(*) filter (where state = 's') as skipped,
            (select jsonb_agg(lone) from (select collection_id as "collectionId", source_id as id, case when in_ledger is null then 'source' else 'ledger' end as "in"
               from both_sides where in_ledger is null or in_source is null limit ${mostDiffering}) lone) as differing
     from both_sides`,
    [collection],
  );
  const { source, loaded, quarantined, skipped, differing } = rows[0]!;
  return {
    source: Number(source),
    loaded: Number(loaded),
    quarantined: Number(quarantined),
    skipped: Number(skipped),
    differing: differing ?? [],
  };
}

interface TargetAccount {
  readonly target: string;
  readonly missing: number;
  readonly extra: number;
}

interface ComparedRows extends TargetAccount {
  /** Keys of those that differ, as many as are looked at again and one more. */
  readonly differing: readonly string[];
}

/** Every loaded key has a row, and every row a loaded key. `$1`: the collections; `$2`, where only `some` are asked for: their keys. */
const loneRows = (target: string, some = false): string => {
  const asked = some ? 'source_id = any($2)' : 'true';
  return `with loaded as (select source_id from migration_control.ledger where collection_id = any($1) and state = 'l' and not deleted and ${asked}),
     held as (select source_id from ${name(target)} where ${asked})
   select coalesce(held.source_id, loaded.source_id) as id, held.source_id is null as missing
   from loaded full join held on held.source_id = loaded.source_id where held.source_id is null or loaded.source_id is null`;
};

async function compareRows(
  client: pg.ClientBase,
  targets: readonly TableTarget[],
  ids: readonly number[],
): Promise<ComparedRows[]> {
  const result: ComparedRows[] = [];
  for (const target of targets.filter((one) => !one.child)) {
    const { rows } = await client.query<{ missing: string; extra: string; differing: string[] | null }>(
      `with lone as (${loneRows(target.name)})
       select count(*) filter (where missing) as missing, count(*) filter (where not missing) as extra,
              (select array_agg(id) from (select id from lone limit ${mostDiffering}) few) as differing from lone`,
      [ids],
    );
    const { missing, extra, differing } = rows[0]!;
    result.push({
      target: target.name,
      missing: Number(missing),
      extra: Number(extra),
      differing: differing ?? [],
    });
  }
  return result;
}

/** Once writes have moved a row stands a moment before the ledger knows of it: what differs is looked at again. */
async function settledRows(
  resources: Resources,
  { differing, ...account }: ComparedRows,
  ids: readonly number[],
  heartbeat: () => void,
): Promise<TargetAccount> {
  const lone = (keys: readonly string[]) =>
    query<{ id: string; missing: boolean }>(
      resources.postgres,
      'looking at rows again',
      loneRows(account.target, true),
      [ids, keys],
    );
  if (differing.length === 0 || differing.length > mostUnderWay) return account;
  const left = await untilSettled(
    resources,
    differing,
    async (keys) => (await lone(keys)).map((one) => one.id),
    heartbeat,
  );
  if (left.length === 0) return { ...account, missing: 0, extra: 0 };
  const found = await lone(left);
  const missing = found.filter((one) => one.missing).length;
  return { ...account, missing, extra: found.length - missing };
}

/** Documents of the target against loaded keys of the ledger, key by key. */
async function compareDocuments(
  resources: Resources,
  target: string,
  ids: readonly number[],
  heartbeat: () => void,
): Promise<TargetAccount> {
  const rows = await query<{ source_id: string }>(
    resources.postgres,
    'reading loaded keys',
    `select source_id from migration_control.ledger where collection_id = any($1) and state = 'l' and not deleted`,
    [ids],
  );
  const loaded = new Set(rows.map((row) => row.source_id));
  const differing: string[] = [];
  for await (const batch of batchesOf(resources.mongodb.db, target, { _id: 1 }, 5000)) {
    heartbeat();
    for (const raw of batch) {
      const id = sourceIdOf(raw);
      if (!loaded.delete(id)) differing.push(id);
    }
  }
  differing.push(...loaded);
  const recheck = async (keys: readonly string[]) => {
    const inLedger = new Set<string>();
    for (const id of ids)
      for (const key of await keysInLedger(resources, id, keys, `state = 'l' and not deleted`)) inLedger.add(key);
    const there = new Set(await idsAmong(resources.mongodb.db, target, await idsKnown(resources.postgres, keys)));
    return keys.filter((key) => inLedger.has(key) !== there.has(key));
  };
  const left = await untilSettled(resources, differing, recheck, heartbeat, mostDocuments);
  const some = await idsKnown(resources.postgres, left.slice(0, mostDocuments));
  const there = new Set(await idsAmong(resources.mongodb.db, target, some));
  const extra = left.filter((key) => there.has(key)).length;
  return { target, missing: left.length - extra, extra };
}
