// The application of the demo: reads and writes through the router and the dual write, as the real one would link them.
import { setTimeout as sleep } from 'node:timers/promises';
import { Double, ObjectId } from 'bson';
import type { ClientSession, Collection, MongoClient } from 'mongodb';
import type pg from 'pg';
import type { Targets } from '../../activities/outside.ts';
import { defaultSettings } from '../../mappings/settings.ts';
import { withZone } from '../../seed/time.ts';
import { DualWriteManager } from '../../traffic/dual-write.ts';
import type { ShadowClass } from '../../traffic/metrics.ts';
import { RoutedReads } from '../../traffic/reads.ts';
import { Router } from '../../traffic/router.ts';
import type { Counters } from '../../traffic/second-write.ts';

export interface Traffic {
  readonly reads: { readonly old: number; readonly new: number };
  readonly writes: { readonly old: number; readonly new: number };
  /** By what was done, and the name and code of what it met; the application makes nothing of them. */
  readonly errors: Readonly<Record<string, number>>;
  /** The longest that a write waited while writes were being moved, ms. */
  readonly longestWaitMs: number;
  readonly dual: Counters | undefined;
  /** Reads that ran on both sides, by what came of the comparison. */
  readonly shadow: Readonly<Partial<Record<ShadowClass, number>>>;
}

export interface Application {
  traffic(): Traffic;
  /** Documents the application has written, by id: what each must say wherever it is read. */
  written(): ReadonlyMap<string, Usage>;
  /** Ends after the operations under way. */
  stop(): Promise<Traffic>;
}

export interface Usage {
  readonly session_id: string;
  readonly input_tokens: number;
  readonly output_tokens: number;
}

const users = Array.from({ length: 50 }, (_, i) => `demo-user-${i}`);

/** `perSecond`: operations, half of them reads. Works before, during and after the migration, and knows of it only through the library. */
export async function startApplication(
  addresses: { readonly postgres: string },
  source: { readonly client: MongoClient; readonly db: ReturnType<MongoClient['db']> },
  targets: Targets,
  perSecond: number,
): Promise<Application> {
  const router = await Router.open({ postgres: addresses.postgres });
  const counts = { reads: { old: 0, new: 0 }, writes: { old: 0, new: 0 } };
  const errors: Record<string, number> = {};
  const shadow: Partial<Record<ShadowClass, number>> = {};
  const reads = new RoutedReads({
    router,
    postgres: addresses.postgres,
    shadow: { rate: 0.2, onShadow: ({ class: its }) => void (shadow[its] = (shadow[its] ?? 0) + 1) },
  });
  let dual: DualWriteManager | undefined;
  let stopping = false;
  const written = new Map<string, Usage>();
  const collection = 'token_usage';

  const read = async () => {
    const user = users[Math.floor(Math.random() * users.length)]!;
    counts.reads[router.sideOfRead(collection, user)]++;
    await reads.routedRead(collection, user, {
      old: () => recentOld(source.db.collection<OldUsage>(collection), user),
      new: () => recent(targets.postgres, user),
    });
  };
  const insert = async () => {
    const document = usage();
    const id = document._id.toHexString();
    const old = async (on: Collection, session?: ClientSession) => {
      await on.insertOne(document, { ...(session && { session }) });
      return 'old' as const;
    };
    // The new system's own form of the same write, for when it is authoritative.
    const fresh = async (client: pg.ClientBase) => {
      await client.query(
        `insert into api_usage (source_id, "timestamp", provider, model_name, input_tokens, output_tokens, cost, currency, session_id, analysis_type)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
        [
          id,
          document.timestamp,
          document.provider,
          document.model_name,
          document.input_tokens,
          document.output_tokens,
          document.cost.valueOf(),
          document.currency,
          document.session_id,
          document.analysis_type,
        ],
      );
      return 'new' as const;
    };
    const side = dual
      ? await dual.write(collection, old, () => [document._id], fresh)
      : await old(source.db.collection(collection));
    counts.writes[side]++;
    const { session_id, input_tokens, output_tokens } = document;
    written.set(id, { session_id, input_tokens, output_tokens });
  };
  const update = async (id: string) => {
    const key = new ObjectId(id);
    const old = async (on: Collection, session?: ClientSession) => {
      await on.updateOne({ _id: key }, { $inc: { output_tokens: 1 } }, { ...(session && { session }) });
      return 'old' as const;
    };
    const fresh = async (client: pg.ClientBase) => {
      await client.query('update api_usage set output_tokens = output_tokens + 1 where source_id = $1', [id]);
      return 'new' as const;
    };
    const side = dual
      ? await dual.write(collection, old, () => [key], fresh)
      : await old(source.db.collection(collection));
    counts.writes[side]++;
    const before = written.get(id)!;
    written.set(id, { ...before, output_tokens: before.output_tokens + 1 });
  };
  const write = async () => {
    // The control schema comes with the migration; until then there is nothing to write a second time to.
    if (!dual && router.writeModeOf(collection) !== 'old')
      dual = await DualWriteManager.open({
        source,
        targets,
        routes: router,
        settings: defaultSettings,
        sampleRate: 0.2,
        metrics: reads.metrics,
      });
    const ids = [...written.keys()];
    if (ids.length > 20 && Math.random() < 0.4) await update(ids[Math.floor(Math.random() * ids.length)]!);
    else await insert();
  };

  const running = (async () => {
    while (!stopping) {
      const next = sleep(1000 / perSecond);
      const [doing, work] = Math.random() < 0.5 ? (['read', read] as const) : (['write', write] as const);
      await work().catch((error: unknown) => {
        const { name, code } = error as { name: string; code?: unknown };
        const kind = [doing, name, code].filter((part) => part !== undefined).join(' ');
        errors[kind] = (errors[kind] ?? 0) + 1;
      });
      await next;
    }
  })();
  const traffic = (): Traffic => ({
    ...counts,
    reads: { ...counts.reads },
    writes: { ...counts.writes },
    errors: { ...errors },
    longestWaitMs: dual?.longestWaitMs ?? 0,
    dual: dual?.counters,
    shadow: { ...shadow },
  });
  return {
    traffic,
    written: () => written,
    async stop() {
      stopping = true;
      await running;
      // What failed has had its time to be repaired; it is looked at once more.
      for (let n = 0; n < 20 && dual && (await dual.validate()).sampled.pending > 0; n++) await sleep(200);
      const last = traffic();
      dual?.close();
      await reads.close();
      await router.close();
      return last;
    },
  };
}

/** What a page of somebody's latest usage shows, the same from either side. */
interface Shown {
  readonly id: string;
  readonly input: number;
  readonly output: number;
}
const latest = 20;

interface OldUsage {
  readonly _id: ObjectId;
  readonly input_tokens: number;
  readonly output_tokens: number;
}

async function recentOld(collection: Collection<OldUsage>, session: string): Promise<Shown[]> {
  const found = collection.find({ session_id: session } as object).sort({ timestamp: -1, _id: -1 });
  return (await found.limit(latest).toArray()).map(({ _id, input_tokens, output_tokens }) => ({
    id: _id.toHexString(),
    input: Number(input_tokens),
    output: Number(output_tokens),
  }));
}

async function recent(pool: pg.Pool, session: string): Promise<Shown[]> {
  const { rows } = await pool.query<{ source_id: string; input_tokens: string; output_tokens: string }>(
    `select source_id, input_tokens, output_tokens from api_usage where session_id = $1 order by "timestamp" desc, source_id desc limit ${latest}`,
    [session],
  );
  return rows.map((row) => ({
    id: row.source_id,
    input: Number(row.input_tokens),
    output: Number(row.output_tokens),
  }));
}

function usage() {
  const input = 500 + Math.floor(Math.random() * 2000);
  return {
    _id: new ObjectId(),
    // As the application writes them: text, so that pages sort alike whichever side wrote a document.
    timestamp: withZone({ time: Date.now(), micros: 0 }),
    provider: 'deepseek',
    model_name: 'deepseek-chat',
    input_tokens: input,
    output_tokens: input >> 1,
    cost: new Double(Math.round(input * 3) / 1e6),
    currency: 'CNY',
    session_id: users[Math.floor(Math.random() * users.length)]!,
    analysis_type: 'stock_analysis',
  };
}
