// What must follow from PostgreSQL's decision in the stores that do not share its transaction. Called before that transaction commits.
import { serialize } from 'bson';
import type pg from 'pg';
import { ownVault } from '../control/vault.ts';
import { learnAllLongKeys } from '../control/long-keys.ts';
import { idFromSourceId, sourceId } from '../core/identity.ts';
import type { Version } from '../core/guard.ts';
import type { Mapping, Outcome } from '../mappings/mapping.ts';
import { writeDocuments, type DocumentWrite } from '../stores/mongodb/loader.ts';
import type { Applied, Images, Referrer } from '../stores/postgres/apply.ts';
import { lockSiblings } from '../stores/postgres/siblings.ts';
import { query } from '../stores/postgres/connection.ts';
import type { TableTarget } from '../stores/postgres/target.ts';
import { loadKeys, retireKeys, type KeyRemoval } from '../stores/redis/loader.ts';
import type { KeyRow, KeysTarget } from '../stores/redis/target.ts';
import { killPoint } from './kill-points.ts';
import type { Resources } from './resources.ts';

export type Targets = Pick<Resources, 'postgres' | 'mongodb' | 'redis' | 'mappings'>;

const documentsAtOnce = 500;

interface Settling {
  readonly targets: Targets;
  /** In whose transaction PostgreSQL has decided. */
  readonly client: pg.ClientBase;
  readonly mapping: Mapping;
  /** The source collection of what was applied, and those that it shares its targets with. */
  readonly of: Pick<Images, 'collectionId' | 'siblings'>;
}

/**
 * Documents and keys of what was applied: those that no longer load are removed with a tombstone, keys that a document no longer has go.
 * `outcomes`: what loads, by document; without it (the copy, which writes these stores first) only removals are left to do.
 * `earlier`: keys of images that were overtaken within the batch, which a broken attempt may have written.
 */
export async function settleOutside(
  { targets, client, mapping, of }: Settling,
  applied: Applied,
  outcomes?: ReadonlyMap<string, Outcome>,
  earlier: ReadonlyMap<string, readonly string[]> = new Map(),
): Promise<void> {
  for (const target of mapping.targets)
    if (target.store === 'mongodb')
      await settleDocuments({ targets, client, mapping, of }, target.name, applied, outcomes);
  killPoint('outside.between-stores');
  const keyed = mapping.targets.filter((target): target is KeysTarget => target.store === 'redis');
  // Removals first: a key may pass from one document of the batch to another.
  if (keyed.length > 0) await retireKeys(targets.redis, removals(of, applied, earlier), 'ledger');
  if (outcomes) for (const target of keyed) await setKeys({ targets, of }, target, applied, outcomes);
}

async function settleDocuments(
  { targets: { mongodb }, client, mapping, of }: Settling,
  collection: string,
  applied: Applied,
  outcomes: ReadonlyMap<string, Outcome> | undefined,
): Promise<void> {
  const writes: DocumentWrite[] = [];
  for (const { id, version, loaded, wasLoaded } of applied.fresh) {
    const content = loaded ? (outcomes?.get(id)?.[collection]?.[0] as Record<string, unknown> | undefined) : undefined;
    const document = content && serialize(content, { ignoreUndefined: true });
    if (!loaded || document) writes.push({ id: idFromSourceId(id), version, document, wasLoaded });
  }
  const place = { collection, owner: of.collectionId, siblings: of.siblings };
  for (let i = 0; i < writes.length; i += documentsAtOnce) {
    const { held } = await writeDocuments(mongodb, place, writes.slice(i, i + documentsAtOnce), { by: 'ledger' });
    if (held.length === 0) continue;
    // The ledger has none of them loaded that it knows of. What stands there is of one that is about to be, or of an attempt that broke off.
    await lockSiblings(
      client,
      { ...of, mappingVersion: mapping.version },
      held.map((one) => sourceId(one.id)),
    );
    await writeDocuments(mongodb, place, held, { by: 'ledger', over: true });
  }
}

async function setKeys(
  { targets: { redis }, of }: Pick<Settling, 'targets' | 'of'>,
  target: KeysTarget,
  applied: Applied,
  outcomes: ReadonlyMap<string, Outcome>,
): Promise<void> {
  const rows = applied.fresh.flatMap(({ id, version, loaded }) =>
    loaded
      ? ((outcomes.get(id)?.[target.name] ?? []) as readonly KeyRow[]).map((row) => ({
          ...row,
          owner: of.collectionId,
          sourceId: id,
          version,
        }))
      : [],
  );
  await loadKeys(redis, target.prefix, rows, 'ledger');
}

function removals(
  { collectionId: owner }: Settling['of'],
  applied: Applied,
  earlier: ReadonlyMap<string, readonly string[]>,
): KeyRemoval[] {
  const vault = ownVault();
  const of = (id: string, version: Version, keys: Iterable<string>): KeyRemoval[] =>
    [...keys].map((key) => ({ key: vault.openText('redis key', key), owner, sourceId: id, version }));
  return [
    ...applied.fresh.flatMap(({ id, version, keys, oldKeys }) => {
      const gone = new Set([...oldKeys, ...(earlier.get(id) ?? []).map((key) => vault.sealText('redis key', key))]);
      for (const key of keys) gone.delete(key);
      return of(id, version, gone);
    }),
    ...applied.stale.flatMap(({ id, version, unwantedKeys }) => of(id, version, unwantedKeys)),
  ];
}

interface Enrolled {
  readonly id: number;
  readonly mapping: string;
  readonly source: string;
}

/** Source collections and their numbers in the ledger. Whoever asks for them is about to meet their keys. */
export async function enrolledIn(on: pg.Pool | pg.ClientBase): Promise<Enrolled[]> {
  await learnAllLongKeys(on);
  return query<Enrolled & pg.QueryResultRow>(
    on,
    'reading collections',
    'select id, mapping, source from migration_control.collections order by id',
  );
}

/** The ledger ids of a mapping's source collections, and who refers to its rows. */
export function kinOf(
  enrolled: readonly Enrolled[],
  mappings: ReadonlyMap<string, Mapping>,
  mapping: Mapping,
): Pick<Images, 'siblings' | 'referencedBy'> {
  const idsOf = (collection: string) => enrolled.filter((row) => row.mapping === collection).map((row) => row.id);
  const tables = new Set(mapping.targets.filter((target) => target.store === 'postgres').map((target) => target.name));
  const referencedBy: Referrer[] = [...mappings.values()].flatMap((other) =>
    other.targets
      .filter((target): target is TableTarget => target.store === 'postgres')
      .flatMap((target) =>
        Object.entries(target.columns).flatMap(([column, its]) =>
          its.references && tables.has(its.references.table)
            ? [
                {
                  parent: its.references.table,
                  table: target.name,
                  column,
                  child: target.child,
                  collectionIds: idsOf(other.collection),
                },
              ]
            : [],
        ),
      ),
  );
  return { siblings: idsOf(mapping.collection), referencedBy };
}
