// Load: a transformed segment into its targets. Stores that cannot share PostgreSQL's transaction come first, the ledger last.
import { announceKeys, forgetAnnounced } from '../control/announced-keys.ts';
import { enterStores } from '../control/checkpoints.ts';
import { versionOfRead, type Version } from '../core/guard.ts';
import { idOf } from '../core/identity.ts';
import type { Mapping } from '../mappings/mapping.ts';
import type { FileReference } from '../spool/segment.ts';
import type { Images } from '../stores/postgres/apply.ts';
import { writeDocuments, type DocumentWrite, type Place } from '../stores/mongodb/loader.ts';
import { loadSegment as loadRows, type Around, type Batch } from '../stores/postgres/loader.ts';
import type { TableTarget } from '../stores/postgres/target.ts';
import { timeOf } from '../stores/redis/connection.ts';
import { loadKeys, type KeyWrite } from '../stores/redis/loader.ts';
import type { KeysTarget } from '../stores/redis/target.ts';
import { mayBeTheDocument } from './capture/patiently.ts';
import type { Extracted } from './extract.ts';
import { askOneByOne, isAskedOneByOne, loadDocuments } from './load-documents.ts';
import { assertMarks } from './identity.ts';
import { enrolledIn, kinOf, settleOutside } from './outside.ts';
import { killPoint } from './kill-points.ts';
import { mappingOf, type Resources } from './resources.ts';
import { manifestFile, type Manifest } from './transform.ts';

export interface LoadOrder {
  readonly collection: string;
  readonly source: string;
  readonly collectionId: number;
  readonly chunk: number;
  readonly segment: number;
  readonly extracted: Extracted;
}

export interface Loaded {
  /** Where the documents went in one by one: what became of them, instead of what transform had counted. */
  readonly instead?: { readonly loaded: number; readonly quarantined: number };
  /** Documents refused because a newer version was there. */
  readonly stale: number;
  /** The batch had been loaded before; nothing was changed. */
  readonly repeated: boolean;
}

export interface Attempt {
  readonly attempt: number;
  readonly runId: string;
  readonly startedAt: Date;
  readonly heartbeat: () => void;
}

const documentsAtOnce = 500;
const bytesAtOnce = 4 * 1024 * 1024;
const keysAtOnce = 5000;

/** Everything but PostgreSQL: documents and keys, guarded by their own versions. */
export async function loadOutside(
  resources: Resources,
  order: LoadOrder,
  store: 'mongodb' | 'redis',
  heartbeat: () => void,
): Promise<Loaded> {
  await assertMarks(resources, resources.owner);
  const path = order.extracted.reference.path;
  const manifest = await resources.spool.json<Manifest>(path, manifestFile);
  const version = versionOfRead(BigInt(order.extracted.version));
  const mapping = mappingOf(resources, order.collection);
  let stale = 0;
  try {
    for (const one of manifest.files.filter((file) => file.store === store)) {
      const content = await resources.spool.bytes(path, one);
      stale +=
        store === 'mongodb'
          ? await loadBson(resources, placeOf(one.target, order), content, version, heartbeat)
          : await loadLines(resources, mapping, one.target, content, version, order);
    }
  } catch (error) {
    if (!mayBeTheDocument(error)) throw error;
    // Which document it is shows when they are loaded one by one, into all stores, with the ledger.
    await askOneByOne(resources, path);
  }
  return { stale, repeated: false };
}

/** What the guard alone decides does not ask for siblings: where one has its document, the segment goes in document by document, by the ledger. */
const placeOf = (collection: string, { collectionId }: LoadOrder): Place => ({
  collection,
  owner: collectionId,
  siblings: [collectionId],
});

async function loadBson(
  resources: Resources,
  place: Place,
  content: Buffer,
  version: Version,
  heartbeat: () => void,
): Promise<number> {
  let stale = 0;
  let batch: DocumentWrite[] = [];
  let size = 0;
  const flush = async () => {
    stale += (await writeDocuments(resources.mongodb, place, batch)).stale;
    batch = [];
    size = 0;
    heartbeat();
  };
  for (let at = 0, next = 0; at < content.byteLength; at = next) {
    next = at + content.readInt32LE(at);
    const document = content.subarray(at, next);
    batch.push({ id: idOf(document), version, document });
    size += next - at;
    if (batch.length >= documentsAtOnce || size >= bytesAtOnce) await flush();
  }
  if (batch.length > 0) await flush();
  return stale;
}

async function loadLines(
  resources: Resources,
  mapping: Mapping,
  target: string,
  content: Buffer,
  version: Version,
  { collectionId, chunk, segment, extracted }: LoadOrder,
): Promise<number> {
  const { prefix } = mapping.targets.find((one) => one.name === target && one.store === 'redis') as KeysTarget;
  const rows = content
    .toString('utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => ({ ...(JSON.parse(line) as Omit<KeyWrite, 'version' | 'owner'>), owner: collectionId, version }));
  const batch = { batchId: extracted.reference.path, collectionId, chunk, segment, version: extracted.version };
  const now = await timeOf(resources.redis);
  const live = rows.filter((row) => row.expiresAt > now);
  const keys = live.map((row) => ({ sourceId: row.sourceId, key: prefix + row.key }));
  for (let i = 0; i < keys.length; i += keysAtOnce)
    await announceKeys(resources.postgres, batch, keys.slice(i, i + keysAtOnce));
  const { stale } = await loadKeys(resources.redis, prefix, live);
  return stale;
}

/** PostgreSQL rows, the ledger and the batch itself, in one transaction; afterwards the segment's files are no longer needed. */
export async function loadPostgres(resources: Resources, order: LoadOrder, attempt: Attempt): Promise<Loaded> {
  const { spool } = resources;
  const { extracted } = order;
  const path = extracted.reference.path;
  const manifest = await spool.json<Manifest>(path, manifestFile);
  const mapping = mappingOf(resources, order.collection);
  const text = (file: FileReference) => () => spool.read(path, file);
  const tables = manifest.files
    .filter((one) => one.store === 'postgres')
    .map((one) => ({
      target: mapping.targets.find(
        (target) => target.name === one.target && target.store === 'postgres',
      ) as TableTarget,
      rows: text(one),
    }));
  killPoint('load.before-ledger');
  const batch: Batch = {
    batchId: path,
    collection: order.collection,
    collectionId: order.collectionId,
    chunk: order.chunk,
    segment: order.segment,
    afterId: extracted.after,
    lastId: extracted.lastId,
    endsChunk: extracted.endsChunk,
    documents: extracted.reference.documents,
    loaded: manifest.loaded,
    quarantined: manifest.quarantined,
    skipped: manifest.skipped,
    bytes: extracted.reference.bytes,
    version: BigInt(extracted.version),
    ...attempt,
  };
  const images: Images = {
    collectionId: order.collectionId,
    ledger: text(manifest.ledger),
    errors: manifest.errors === undefined ? undefined : text(manifest.errors),
    unresolved: manifest.unresolved === undefined ? undefined : text(manifest.unresolved),
    tables,
    ...kinOf(await enrolledIn(resources.postgres), resources.mappings, mapping),
  };
  const around: Around = {
    enter: enterStores,
    outside: (applied, client) => settleOutside({ targets: resources, client, mapping, of: images }, applied),
    leave: (client) => forgetAnnounced(client, path),
  };
  const whole = await loadWhole(resources, batch, images, around);
  const loaded =
    whole ??
    (await loadDocuments(resources, order, {
      batch,
      around,
      settings: manifest.settings,
      heartbeat: attempt.heartbeat,
    }));
  await spool.forget(path);
  return loaded;
}

/** undefined: one of the documents may be why the batch cannot be loaded. */
async function loadWhole(
  { spool, postgres }: Resources,
  batch: Batch,
  images: Images,
  around: Around,
): Promise<Loaded | undefined> {
  if (await isAskedOneByOne(spool, batch.batchId)) return undefined;
  try {
    const stale = await loadRows(postgres, batch, images, around);
    return { stale: stale ?? 0, repeated: stale === undefined };
  } catch (error) {
    if (mayBeTheDocument(error)) return undefined;
    throw error;
  }
}
