// What the server's change stream tells of documents, as bytes: where it tells another document than it holds, nobody who follows it can know better.
import { ChangeStream, type ChangeEvent } from '../../../stores/mongodb/changes.ts';
import type { Resources } from '../../../activities/resources.ts';
import { keyOf } from './stored.ts';

export class Told {
  readonly #stream: ChangeStream;
  readonly #last = new Map<string, Uint8Array | null | undefined>();

  private constructor(stream: ChangeStream) {
    this.#stream = stream;
  }

  static async from({ source }: Resources): Promise<Told> {
    return new Told(await ChangeStream.open(source, 'updateLookup', undefined, { awaitMs: 200 }));
  }

  /** The last image that was told of each document, as far as events have come. */
  async lastImages(): Promise<ReadonlyMap<string, Uint8Array | null | undefined>> {
    for (let empty = 0; empty < 2;) {
      const { events } = await this.#stream.next();
      if (events.length === 0) empty++;
      for (const event of events.filter((one): one is ChangeEvent => one.kind === 'document'))
        this.#last.set(keyOf({ source: event.collection, id: event.id }), event.bytes);
    }
    return this.#last;
  }

  close(): Promise<void> {
    return this.#stream.close();
  }
}
