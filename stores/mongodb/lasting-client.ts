// A MongoDB client that outlives a server which is away when it first connects.
import { MongoClient, type MongoClientOptions } from 'mongodb';

const againMs = 300;

/**
 * A driver whose first connection fails gives up for good: it closes its topology, and every later operation meets the closed one. A process that
 * runs for weeks may start before the server does, or connect in the second in which it is restarted; this client then connects again until it is
 * closed. Operations meanwhile fail as they do while any server is away.
 */
export class LastingClient extends MongoClient {
  #closed = false;

  constructor(url: string, options: MongoClientOptions) {
    super(url, options);
    // Comes before the attempt that failed has ended, and also when the client is closed.
    this.on('topologyClosed', () => {
      setTimeout(() => this.#again(), againMs).unref();
    });
  }

  #again(): void {
    // What fails closes the topology once more, and so comes back here.
    if (!this.#closed) this.connect().catch(() => undefined);
  }

  override async close(force?: boolean): Promise<void> {
    this.#closed = true;
    await super.close(force);
  }
}
