// Connections to PostgreSQL that say nothing any more: a host that is gone without a word, a firewall that forgot the connection, a proxy that hangs.
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** How long a connection that owes an answer may be silent before the server is asked about it, ms. Statements may take longer: then it says that it is at work. */
const askAfterMs = 15_000;
const lookEveryMs = 1000;
/** For the question, ms. */
const answerMs = 8000;
/** What the server had sent before it was asked is here by then, ms. */
const onItsWayMs = 1000;

/** The driver has no other word for its socket. */
const streamOf = (client: pg.ClientBase): Socket =>
  (client as unknown as { readonly connection: { readonly stream: Socket } }).connection.stream;

const owesAnswer = (client: pg.ClientBase): boolean =>
  !(client as unknown as { readonly readyForQuery: boolean }).readyForQuery;

/**
 * Ends connections that the server no longer works for. The driver waits for an answer without limit, and a limit for every statement would end those
 * that rightly take hours: so the server is asked, on another connection, whether it is at work on what this one waits for. Where it is not, or
 * nobody answers, the connection is ended, and what waited for it fails as after any other loss.
 */
export class Silence {
  readonly #config: pg.ClientConfig;
  readonly #askAfterMs: number;

  constructor(config: pg.ClientConfig, askAfter = askAfterMs) {
    this.#config = config;
    this.#askAfterMs = askAfter;
  }

  /** From now on, until it has ended. `server`: its process, as soon as it is known; a pooler tells another number when it greets. */
  watch(client: pg.ClientBase, server: { readonly pid?: number }): void {
    const stream = streamOf(client);
    let heard = '';
    let since = performance.now();
    let isAsking = false;
    const look = () => {
      // Counted, not listened to: a COPY takes the listeners of the socket for its own.
      const now = `${stream.bytesRead} ${stream.bytesWritten}`;
      // What has come and is not read yet is not the server's to answer for.
      if (now !== heard || stream.readableLength > 0) since = performance.now();
      heard = now;
    };
    const timer = setInterval(
      () => {
        look();
        if (!owesAnswer(client) || isAsking || performance.now() - since < this.#askAfterMs) return;
        isAsking = true;
        void this.#isAtWork(server.pid)
          .then(async (isAtWork) => {
            const before = since;
            if (!isAtWork) await sleep(Math.min(onItsWayMs, this.#askAfterMs));
            look();
            if (isAtWork) since = performance.now();
            else if (since === before) stream.destroy(new Error('Connection terminated: the server does not answer'));
          })
          .finally(() => (isAsking = false));
      },
      Math.min(lookEveryMs, this.#askAfterMs),
    ).unref();
    stream.once('close', () => clearInterval(timer));
  }

  /** Of a process whose number is not known, whether anybody answers at all. */
  async #isAtWork(pid: number | undefined): Promise<boolean> {
    const client = new pg.Client({
      ...this.#config,
      connectionTimeoutMillis: answerMs,
      query_timeout: answerMs,
      application_name: 'causeway asks for a connection',
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      if (pid === undefined) return false;
      // Waiting for its client, who waits for it: one of the two has not heard the other.
      const { rowCount } = await client.query(
        `select 1 from pg_stat_activity where pid = $1 and state = 'active' and wait_event_type is distinct from 'Client'`,
        [pid],
      );
      return rowCount === 1;
    } catch (error) {
      // All places are taken: somebody is there, and cannot be asked.
      const { code } = error as { code?: unknown };
      return typeof code === 'string' && code.startsWith('53');
    } finally {
      // Not asked to end: who does not answer does not answer that either.
      streamOf(client).destroy();
    }
  }
}
