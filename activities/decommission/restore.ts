// The old system's last snapshot, put back under the old names. It needs the snapshot's folder, its key and the old MongoDB; nothing of the migration.
import type { Db } from 'mongodb';
import { KnownFailure } from '../../core/failures.ts';
import type { ManifestPart } from '../../core/checkpoints.ts';
import { isHeldName, validationsOf } from '../../stores/mongodb/close.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { fillSide, makeSide, present, sideOf, swap, type CollectionShape } from '../../stores/mongodb/snapshot.ts';
import { ContentDigest } from '../../stores/snapshots/digest.ts';
import { Snapshot } from '../../stores/snapshots/snapshot.ts';
import type { Say } from '../checkpoint/create.ts';

/** Opened, and every file compared with the manifest. */
export async function openLast(folder: string, say: Say): Promise<Snapshot> {
  const snapshot = await Snapshot.open(folder);
  if (!snapshot)
    throw new KnownFailure(
      'CheckpointRefused',
      `There is no snapshot in ${folder}. \`causeway decommission\` named its folder when it saved the old system.`,
    );
  await snapshot.verify(say);
  return snapshot;
}

/** Nothing that holds documents is replaced: only names that nobody bears, or that decommission holds with an empty collection. */
export async function refuseTaken(db: Db, parts: readonly ManifestPart[]): Promise<void> {
  const there = await validationsOf(
    db,
    parts.map((part) => part.name),
  );
  const taken: string[] = [];
  for (const [collection, validation] of there) {
    const first = await mongo(`reading ${collection}`, () => db.collection(collection).findOne({}, { projection: {} }));
    if (first !== null || !isHeldName(validation)) taken.push(collection);
  }
  if (taken.length > 0)
    throw new KnownFailure(
      'CheckpointRefused',
      `${taken.join(', ')} exists in the old MongoDB already. Rename or drop it, or give SOURCE_MONGODB_URL another database; nothing was changed.`,
    );
}

/** Loaded beside, compared with the manifest, and only then given the name, with the options and indexes it had. Safe to repeat. */
export async function restoreOld(db: Db, snapshot: Snapshot, say: Say): Promise<Record<string, number>> {
  const parts = snapshot.parts('mongodb');
  await refuseTaken(db, parts);
  for (const part of parts) {
    await makeSide(db, part.name, shapeIn(part));
    let documents = 0;
    for await (const batch of snapshot.records(part)) {
      await fillSide(db, part.name, batch);
      documents += batch.length;
      say(`${part.name}: ${documents} of ${part.records} documents`);
    }
    const digest = new ContentDigest();
    for await (const batch of present(db, sideOf(part.name))) for (const document of batch) digest.add(document);
    if (digest.hex !== part.digest)
      throw new KnownFailure('Defect', `${part.name} was put back and does not equal the snapshot's manifest`);
  }
  for (const part of parts) await swap(db, part.name, shapeIn(part));
  return Object.fromEntries(parts.map((part) => [part.name, part.records]));
}

const shapeIn = ({ options = '{}', indexes = '[]' }: ManifestPart): CollectionShape => ({ options, indexes });
