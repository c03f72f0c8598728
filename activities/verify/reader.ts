// The verifier's own way through a source collection: in the order of `_id`, undecoded, from after a key on.
import type { ClientSession, FindCursor } from 'mongodb';
import { mongo } from '../../stores/mongodb/connection.ts';
import { batchFor, rangeFilter, versionOf } from '../../stores/mongodb/source.ts';
import type { Verifier } from './verifier.ts';

/** `version`: a cluster time that every document read includes. */
export class OrderedRead {
  readonly version: bigint;
  readonly #session: ClientSession;
  readonly #cursor: FindCursor<Buffer>;

  private constructor(version: bigint, session: ClientSession, cursor: FindCursor<Buffer>) {
    this.version = version;
    this.#session = session;
    this.#cursor = cursor;
  }

  /** Without a hint: a server that is told which index to use may take its order for the one that was asked for. */
  static open(
    { resources }: Verifier,
    collection: string,
    after: string | null,
    averageBytes: number,
  ): Promise<OrderedRead> {
    const { client, db } = resources.source;
    return mongo(`opening ${collection}`, async () => {
      const session = client.startSession({ causalConsistency: true });
      await db.command({ ping: 1 }, { session });
      const options = {
        session,
        raw: true,
        batchSize: batchFor(averageBytes, 5000),
        readConcern: { level: 'majority' as const },
        allowDiskUse: true,
      };
      const cursor = db
        .collection<Record<string, unknown>>(collection)
        .find(rangeFilter({ after, upTo: null }), options)
        .sort({ _id: 1 });
      return new OrderedRead(versionOf(session.operationTime!), session, cursor as unknown as FindCursor<Buffer>);
    });
  }

  /** What one round trip brings; empty at the end. */
  next(): Promise<Buffer[]> {
    return mongo(`reading ${this.#cursor.namespace.collection}`, async () => {
      const first = await this.#cursor.next();
      return first === null ? [] : [first, ...this.#cursor.readBufferedDocuments()];
    });
  }

  async close(): Promise<void> {
    await this.#cursor.close().catch(() => undefined);
    await this.#session.endSession().catch(() => undefined);
  }
}
