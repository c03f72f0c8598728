// Opening capture: the stream and its position are there, durable, before the first document is read.
import type { Settings } from '../../core/settings.ts';
import { KnownFailure } from '../../core/failures.ts';
import { readStream } from '../../control/capture.ts';
import { ChangeStream, imagesOf } from '../../stores/mongodb/changes.ts';
import { tokenText } from '../../stores/mongodb/token.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { enroll } from '../plan.ts';
import { keepPolicy } from '../policy.ts';
import { mappingOf, type Resources } from '../resources.ts';

export interface Opened {
  readonly images: 'post-images' | 'updateLookup';
  readonly lanes: number;
  /** Cluster time at which the stream begins; no chunk is read before it. */
  readonly openedAt: string;
}

/** Opened once: asked again, it returns what is there, and moves nothing. */
export async function openCapture(resources: Resources, settings: Settings): Promise<Opened> {
  const collections = settings.collections ?? [...resources.mappings.keys()];
  const names: string[] = [];
  for (const collection of collections) {
    const mapping = mappingOf(resources, collection);
    // A name that does not exist yet may be written to at any time.
    for (const source of [mapping.collection, ...mapping.aliases]) {
      await enroll(resources, collection, source);
      names.push(source);
    }
  }
  await keepPolicy(resources.postgres, settings);
  const known = await readStream(resources.postgres);
  if (known) return { images: known.images, lanes: known.lanes, openedAt: known.version.toString() };
  const images = await imagesOf(resources.source.db, names);
  const stream = await mongo('opening the change stream', () =>
    ChangeStream.open(resources.source, images, undefined, { awaitMs: 100 }),
  );
  try {
    const version = stream.openedAt.toString();
    await inTransaction(resources.postgres, 'keeping the position of the change stream', async (client) => {
      const { rowCount } = await client.query(
        `insert into migration_control.capture_stream (token, opened_version, version, last_version, last_op_index, lanes, images)
         values ($1, $2, $2, 0, 0, $3, $4) on conflict do nothing`,
        [tokenText(stream.position.token), version, settings.captureLanes, images],
      );
      // Somebody else was first: the lanes are those of that one's stream.
      if (rowCount === 0) return;
      await client.query(
        'insert into migration_control.capture_position (lane, version) select lane, $2 from generate_series(0, $1 - 1) lane',
        [settings.captureLanes, version],
      );
    });
  } finally {
    await stream.close();
  }
  const opened = await readStream(resources.postgres);
  if (!opened) throw new KnownFailure('StoreBusy', 'Change capture was opened and undone at the same time.');
  return { images: opened.images, lanes: opened.lanes, openedAt: opened.version.toString() };
}
