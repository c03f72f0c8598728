// Sessions in which this process writes: noted before their first transaction, so that another process can end them should this one die or hang.
import { UUID } from 'bson';
import type { ClientSession, ClientSessionOptions, MongoClient } from 'mongodb';
import type pg from 'pg';
import { mongo } from '../stores/mongodb/connection.ts';
import { query } from '../stores/postgres/connection.ts';

export type WrittenStore = 'source' | 'target';
type Ended = WrittenStore | 'postgres';

/** The application name of a process's connections to PostgreSQL. */
export const connectionsOf = (id: string): string => `causeway ${id}`;

/** `holder`: the task queue that only this process serves. */
export interface WritingProcess {
  readonly holder: string;
  readonly id: string;
}

const showEveryMs = 2000;
const deadAfterSeconds = 8;
/** A driver keeps a session no longer than half an hour unused. */
const forgetAfterMs = 60 * 60_000;

/**
 * A transaction whose process was killed stays open on the server: for a minute by default (`transactionLifetimeLimitSeconds`), on other servers
 * of its protocol for as long as a session lives. Until then its documents cannot be written, and its collections not renamed. PostgreSQL sees a
 * connection close, but not that a process hangs: a COPY waits for its rows without limit, and others wait for its locks. To end what a process
 * that only seemed dead has open does no harm: its transaction fails as after any other interruption, and is done again.
 */
export class WritingSessions {
  readonly #pool: pg.Pool;
  readonly #process: WritingProcess;
  readonly #clients: Readonly<Record<WrittenStore, MongoClient>>;
  readonly #noted = new Map<string, { readonly store: Ended; usedAt: number }>();
  #timer: NodeJS.Timeout | undefined;

  /** `pool`: one that nobody else waits for; sessions are opened within transactions of PostgreSQL. Closed with this. */
  constructor(pool: pg.Pool, process: WritingProcess, clients: Readonly<Record<WrittenStore, MongoClient>>) {
    this.#pool = pool;
    this.#process = process;
    this.#clients = clients;
    this.#noted.set(process.id, { store: 'postgres', usedAt: Infinity });
  }

  /** The caller ends it. */
  async open(store: WrittenStore, options?: ClientSessionOptions): Promise<ClientSession> {
    const session = this.#clients[store].startSession(options);
    this.watch();
    const id = new UUID(session.id!.id.buffer).toHexString();
    const noted = this.#noted.get(id);
    if (noted) noted.usedAt = Date.now();
    else
      try {
        await this.#show([{ id, store }]);
        this.#noted.set(id, { store, usedAt: Date.now() });
      } catch (error) {
        await session.endSession();
        throw error;
      }
    return session;
  }

  /** From now on, as from the first `open`: shows that this process lives, and ends what dead ones left. What fails is tried again. */
  watch(): void {
    let busy = false;
    this.#timer ??= setInterval(() => {
      if (busy) return;
      busy = true;
      void this.#tick()
        .catch(() => undefined)
        .finally(() => (busy = false));
    }, showEveryMs).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#timer)
      await query(this.#pool, 'leaving', 'delete from migration_control.writing_sessions where holder = $1', [
        this.#process.holder,
      ]).catch(() => undefined);
    await this.#pool.end();
  }

  async #tick(): Promise<void> {
    for (const [id, { usedAt }] of this.#noted) if (Date.now() - usedAt > forgetAfterMs) this.#noted.delete(id);
    await this.#show([...this.#noted].map(([id, { store }]) => ({ id, store })));
    await this.endDead();
  }

  #show(sessions: readonly { readonly id: string; readonly store: Ended }[]): Promise<unknown> {
    return query(
      this.#pool,
      'noting a session that writes',
      `insert into migration_control.writing_sessions (holder, store, session_id, seen_at)
       select $1, *, clock_timestamp() from unnest($2::text[], $3::uuid[])
       on conflict (session_id, store) do update set seen_at = excluded.seen_at`,
      [this.#process.holder, sessions.map((one) => one.store), sessions.map((one) => one.id)],
    );
  }

  /** Ends the sessions of processes that have not been seen for a while. Returns how many. */
  async endDead(): Promise<number> {
    const dead = await query<{ store: Ended; session_id: string }>(
      this.#pool,
      'looking for sessions that nobody holds',
      `select store, session_id from migration_control.writing_sessions where seen_at < clock_timestamp() - interval '${deadAfterSeconds} s'`,
    );
    for (const store of ['source', 'target', 'postgres'] as const) {
      const ids = dead.filter((one) => one.store === store).map((one) => one.session_id);
      if (ids.length === 0) continue;
      await this.#end(store, ids);
      await query(
        this.#pool,
        'forgetting sessions that were ended',
        `delete from migration_control.writing_sessions where store = $1 and session_id = any($2::uuid[]) and seen_at < clock_timestamp() - interval '${deadAfterSeconds} s'`,
        [store, ids],
      );
    }
    return dead.length;
  }

  async #end(store: Ended, ids: readonly string[]): Promise<void> {
    if (store === 'postgres')
      await query(
        this.#pool,
        'ending connections that nobody serves',
        'select pg_terminate_backend(pid) from pg_stat_activity where application_name = any($1) and xact_start is not null',
        [ids.map(connectionsOf)],
      );
    else
      await mongo('ending sessions that nobody holds', () =>
        this.#clients[store].db('admin').command({ killSessions: ids.map((id) => ({ id: new UUID(id) })) }),
      );
  }
}
