// The last snapshot of the old collections: written, read back, and compared with the collections once more before anything happens to them.
import { join, resolve } from 'node:path';
import type { Manifest, ManifestPart } from '../../core/checkpoints.ts';
import { nameAt, totalOf } from '../../core/checkpoints.ts';
import { KnownFailure } from '../../core/failures.ts';
import { takeReverse } from '../../control/reverse.ts';
import { routesOf } from '../../control/routing.ts';
import { query } from '../../stores/postgres/connection.ts';
import { present, shapeOf } from '../../stores/mongodb/snapshot.ts';
import { ContentDigest } from '../../stores/snapshots/digest.ts';
import { Draft } from '../../stores/snapshots/draft.ts';
import { Snapshot } from '../../stores/snapshots/snapshot.ts';
import { versionsOf, type Say } from '../checkpoint/create.ts';
import { recordAudit } from '../record.ts';
import type { Resources } from '../resources.ts';
import { oldCollections, refuseUnready } from './ready.ts';

export interface SaveOrder {
  readonly migration: string;
  readonly snapshotDirectory: string;
  readonly run: string;
}

export interface Saved {
  readonly folder: string;
  readonly manifestSha256: string;
  readonly collections: Record<string, number>;
  readonly bytes: number;
}

/** In the form of a checkpoint, in a folder of its own: it is no checkpoint of the new system. Asked again, the same run finds what it made. */
export async function saveOld(resources: Resources, order: SaveOrder, say: Say): Promise<Saved> {
  const collections = await oldCollections(resources);
  const known = await savedBefore(resources, order.run, collections.length === 0);
  if (known) return known;
  await refuseUnready(resources);
  // An applier of the way back that has not heard yet that it is over is refused from now on.
  await takeReverse(resources.postgres, 'epoch', 'decommission');
  const folder = join(resolve(resources.home, order.snapshotDirectory, `${order.migration}.old`), nameAt(new Date()));
  const draft = await Draft.open(folder);
  try {
    const parts: ManifestPart[] = [];
    for (const collection of collections) {
      say(`saving ${collection}`);
      const writer = draft.part('mongodb', collection);
      for await (const batch of present(resources.source.db, collection))
        for (const document of batch) await writer.write(document);
      parts.push({ ...(await writer.end()), ...(await shapeOf(resources.source.db, collection)) });
    }
    await draft.finish(await manifestOf(resources, order, draft, parts), () => undefined);
  } catch (error) {
    await draft.discard();
    throw error;
  }
  const snapshot = await Snapshot.open(folder);
  if (!snapshot) throw new KnownFailure('CheckpointDamaged', `The snapshot in ${folder} is not there any more.`);
  await snapshot.verify(say);
  for (const part of snapshot.manifest.parts) await compare(resources, part, say);
  const saved: Saved = {
    folder,
    manifestSha256: snapshot.sha256,
    collections: Object.fromEntries(snapshot.manifest.parts.map((part) => [part.name, part.records])),
    bytes: totalOf(snapshot.manifest).bytes,
  };
  await recordAudit(resources, 'old system saved', { ...saved, run: order.run });
  return saved;
}

/** By this run; or by any, where the old collections have been renamed already. */
async function savedBefore({ postgres }: Resources, run: string, any: boolean): Promise<Saved | undefined> {
  const [row] = await query<{ detail: Saved }>(
    postgres,
    'looking for the last snapshot',
    `select detail from migration_control.audit_log where action = 'old system saved' and ($2 or detail ->> 'run' = $1) order by id desc limit 1`,
    [run, any],
  );
  return row?.detail;
}

async function manifestOf(
  resources: Resources,
  order: SaveOrder,
  { codec, key }: Draft,
  parts: ManifestPart[],
): Promise<Manifest> {
  const now = new Date().toISOString();
  return {
    format: 1,
    migration: order.migration,
    name: 'old system',
    createdAt: now,
    run: order.run,
    codec,
    key,
    cut: { at: now, lsn: '0/0', captured: null, mongodb: { read: 'clusterTime', clusterTime: '0' } },
    barrierMs: 0,
    controlSchema: [],
    mappings: versionsOf(resources),
    routing: await routesOf(resources.postgres),
    workflow: null,
    sequences: [],
    parts,
  };
}

/** What the file holds is what the collection holds now: nobody has written meanwhile, and nothing was lost on the way. */
async function compare({ source }: Resources, part: ManifestPart, say: Say): Promise<void> {
  say(`comparing ${part.name} with its snapshot`);
  const digest = new ContentDigest();
  for await (const batch of present(source.db, part.name)) for (const document of batch) digest.add(document);
  if (digest.hex !== part.digest)
    throw new KnownFailure(
      'StoreBusy',
      `${part.name} of the old system changed while it was saved: somebody still writes to it. Nothing was changed.`,
    );
}
