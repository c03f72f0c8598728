// Planning: which source collections there are, in which order they go, and how each is cut into chunks.
import type pg from 'pg';
import { chunkCount } from '../core/chunks.ts';
import { requireKey } from '../control/sealing.ts';
import { ownVault } from '../control/vault.ts';
import { KnownFailure } from '../core/failures.ts';
import type { Settings } from '../core/settings.ts';
import type { Mapping } from '../mappings/mapping.ts';
import { measureOpen, splitKeys, tile, weigh } from '../stores/mongodb/ranges.ts';
import { collectionNames } from '../stores/mongodb/schema.ts';
import { inTransaction, name, query } from '../stores/postgres/connection.ts';
import { mappingOf, type Resources } from './resources.ts';

export interface CollectionPlan {
  readonly collection: string;
  readonly class: Mapping['class'];
  readonly after: readonly string[];
  /** Source collections that exist, the mapping's own name first. */
  readonly sources: readonly string[];
  /** Stores other than PostgreSQL that take rows, loaded before the ledger. */
  readonly outside: readonly ('mongodb' | 'redis')[];
  readonly documents: number;
}

const order = { static: 0, historical: 1, active: 2 } as const;

/** The mappings to migrate, static before historical before active, each with the source collections that feed it. */
export async function planCollections(resources: Resources, settings: Settings): Promise<CollectionPlan[]> {
  const wanted = settings.collections ?? [...resources.mappings.keys()];
  const unknown = wanted.filter((collection) => !resources.mappings.has(collection));
  if (unknown.length > 0) {
    throw new KnownFailure(
      'ConfigurationInvalid',
      `There is no mapping for ${unknown.join(', ')}. Known: ${[...resources.mappings.keys()].join(', ')}.`,
    );
  }
  const there = new Set(await collectionNames(resources.source.db));
  const plans: CollectionPlan[] = [];
  for (const collection of wanted) {
    const mapping = mappingOf(resources, collection);
    const sources = [mapping.collection, ...mapping.aliases].filter((source) => there.has(source));
    let documents = 0;
    for (const source of sources) documents += (await weigh(resources.source.db, source)).documents;
    const outside = (['mongodb', 'redis'] as const).filter((store) =>
      mapping.targets.some((target) => target.store === store),
    );
    plans.push({
      collection,
      class: mapping.class,
      after: mapping.after.filter((other) => wanted.includes(other)),
      sources,
      outside,
      documents,
    });
  }
  return plans.sort((a, b) => order[a.class] - order[b.class] || (a.collection < b.collection ? -1 : 1));
}

export interface ChunkPlan {
  readonly source: string;
  readonly collectionId: number;
  readonly chunk: number;
  /** Encrypted key text. */
  readonly upTo: string | null;
  /** Encrypted key text of the last document loaded in an unbroken line; null at the beginning of the key space. */
  readonly after: string | null;
  /** Number of the next segment. */
  readonly segment: number;
  readonly done: boolean;
  readonly averageBytes: number;
}

export interface CopyPlan {
  readonly chunks: readonly ChunkPlan[];
  /** What earlier attempts have loaded. */
  readonly before: {
    readonly documents: number;
    readonly loaded: number;
    readonly quarantined: number;
    readonly skipped: number;
  };
  readonly documents: number;
}

/** Makes the plan once; asked again, it returns the same chunks with how far each has come, as the batches in the target tell. */
export async function planChunks(
  resources: Resources,
  collection: string,
  sources: readonly string[],
  settings: Settings,
  heartbeat: () => void,
): Promise<CopyPlan> {
  await requireKey(resources.postgres);
  const chunks: ChunkPlan[] = [];
  let documents = 0;
  for (const source of sources) {
    const { db } = resources.source;
    const weight = await weigh(db, source);
    documents += weight.documents;
    const collectionId = await enroll(resources, collection, source);
    if (!(await isPlanned(resources.postgres, collectionId))) {
      const keys = await chooseKeys(resources, source, weight, settings, heartbeat);
      await savePlan(resources, collectionId, keys);
    }
    chunks.push(...(await readPlan(resources, collectionId, source, weight.averageBytes)));
    heartbeat();
  }
  return { chunks, documents, before: await loadedBefore(resources, collection) };
}

async function chooseKeys(
  resources: Resources,
  source: string,
  weight: { documents: number; averageBytes: number },
  settings: Settings,
  heartbeat: () => void,
): Promise<string[]> {
  const { db } = resources.source;
  const rough = chunkCount({ ...weight, openMs: 0 }, settings.parallelism, settings.chunkDocuments);
  if (rough <= 1) return [];
  const keys = await splitKeys(db, source, rough, weight.averageBytes);
  heartbeat();
  const middle = keys[keys.length >> 1];
  if (middle === undefined || settings.chunkDocuments !== undefined) return keys;
  const wanted = chunkCount({ ...weight, openMs: await measureOpen(db, source, middle) }, settings.parallelism);
  const every = (keys.length + 1) / wanted;
  const thinned = Array.from({ length: wanted - 1 }, (_, i) => keys[Math.round((i + 1) * every) - 1]!);
  return [...new Set(thinned.filter((key) => key !== undefined))];
}

/** The small number a source collection has in the ledger, and its own partition there. */
export async function enroll(resources: Resources, mapping: string, source: string): Promise<number> {
  return inTransaction(resources.postgres, `enrolling ${source}`, async (client) => {
    await client.query(`select pg_advisory_xact_lock(hashtext('causeway collections'))`);
    const known = await client.query<{ id: number }>(
      'select id from migration_control.collections where mapping = $1 and source = $2',
      [mapping, source],
    );
    if (known.rows[0]) return known.rows[0].id;
    const { rows } = await client.query<{ id: number }>(
      'insert into migration_control.collections (mapping, source) values ($1, $2) returning id',
      [mapping, source],
    );
    const id = rows[0]!.id;
    await client.query(
      `create table migration_control.${name(`ledger_${id}`)} partition of migration_control.ledger for values in (${id})`,
    );
    return id;
  });
}

async function isPlanned(on: pg.Pool | pg.ClientBase, collectionId: number): Promise<boolean> {
  const rows = await query(
    on,
    'reading the plan',
    'select 1 from migration_control.chunks where collection_id = $1 limit 1',
    [collectionId],
  );
  return rows.length > 0;
}

async function savePlan(resources: Resources, collectionId: number, keys: readonly string[]): Promise<void> {
  await inTransaction(resources.postgres, 'saving the plan', async (client) => {
    // Two plans of one collection do not fit together: the first one stands, and is read by both.
    await client.query('select 1 from migration_control.collections where id = $1 for update', [collectionId]);
    if (await isPlanned(client, collectionId)) return;
    const vault = ownVault();
    const ranges = tile(keys);
    const sealed = (bound: string | null) => bound && vault.sealText('bound', bound);
    await client.query(
      `insert into migration_control.chunks (collection_id, chunk, lower_id, upper_id)
       select $1, * from unnest($2::int[], $3::text[], $4::text[])`,
      [
        collectionId,
        ranges.map((_, i) => i),
        ranges.map((range) => sealed(range.after)),
        ranges.map((range) => sealed(range.upTo)),
      ],
    );
  });
}

/** Follows each chunk's batches from its lower key as long as one begins where the last ended. */
async function readPlan(
  resources: Resources,
  collectionId: number,
  source: string,
  averageBytes: number,
): Promise<ChunkPlan[]> {
  const planned = await query<{ chunk: number; lower_id: string | null; upper_id: string | null }>(
    resources.postgres,
    'reading the plan',
    'select chunk, lower_id, upper_id from migration_control.chunks where collection_id = $1 order by chunk',
    [collectionId],
  );
  const batches = await query<{
    chunk: number;
    segment: number;
    after_id: string | null;
    last_id: string | null;
    ends_chunk: boolean;
  }>(
    resources.postgres,
    'reading batches',
    'select chunk, segment, after_id, last_id, ends_chunk from migration_control.migration_batches where collection_id = $1 order by chunk, segment',
    [collectionId],
  );
  const next = new Map(batches.map((batch) => [`${batch.chunk}\t${batch.after_id ?? ''}`, batch]));
  return planned.map(({ chunk, lower_id, upper_id }) => {
    let after = lower_id;
    let done = false;
    let segment = 0;
    for (
      let batch = next.get(`${chunk}\t${after ?? ''}`);
      batch && !done;
      batch = next.get(`${chunk}\t${after ?? ''}`)
    ) {
      segment = batch.segment + 1;
      done = batch.ends_chunk;
      if (batch.last_id === after) break;
      after = batch.last_id;
    }
    return { source, collectionId, chunk, upTo: upper_id, after, segment, done, averageBytes };
  });
}

async function loadedBefore(resources: Resources, collection: string): Promise<CopyPlan['before']> {
  const [sums] = await query<Record<'documents' | 'loaded' | 'quarantined' | 'skipped', string>>(
    resources.postgres,
    'counting',
    `select coalesce(sum(documents), 0) as documents, coalesce(sum(loaded), 0) as loaded, coalesce(sum(quarantined), 0) as quarantined, coalesce(sum(skipped), 0) as skipped
     from migration_control.migration_batches where collection = $1`,
    [collection],
  );
  return {
    documents: Number(sums!.documents),
    loaded: Number(sums!.loaded),
    quarantined: Number(sums!.quarantined),
    skipped: Number(sums!.skipped),
  };
}
