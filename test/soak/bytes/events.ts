// What the server's change stream tells of documents, as bytes: where it tells another document than it holds, nobody who follows it can know better.
import { ChangeStream, type ChangeEvent } from '../../../stores/mongodb/changes.ts';
import type { Resources } from '../../../activities/resources.ts';
import { clusterTimeOf } from '../../../stores/mongodb/source.ts';
import { keyOf } from './stored.ts';

export class Told {
  readonly #resources: Resources;
  readonly #stream: ChangeStream;
  readonly #last = new Map<string, Uint8Array | null | undefined>();

  private constructor(resources: Resources, stream: ChangeStream) {
    this.#resources = resources;
    this.#stream = stream;
  }

  static async from(resources: Resources): Promise<Told> {
    const { source } = resources;
    return new Told(resources, await ChangeStream.open(source, 'updateLookup', undefined, { awaitMs: 200 }));
  }

  /** The last image that was told of each document until now. */
  async lastImages(): Promise<ReadonlyMap<string, Uint8Array | null | undefined>> {
    const now = await clusterTimeOf(this.#resources.source.db);
    for (let reached = 0n; reached < now;) {
      const { events, time } = await this.#stream.next();
      reached = time;
      for (const event of events.filter((one): one is ChangeEvent => one.kind === 'document'))
        this.#last.set(keyOf({ source: event.collection, id: event.id }), event.bytes);
    }
    return this.#last;
  }

  close(): Promise<void> {
    return this.#stream.close();
  }
}
