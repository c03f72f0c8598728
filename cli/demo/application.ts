// The application of the demo: reads and writes through the router and the dual write, as the real one would link them.
import { setTimeout as sleep } from 'node:timers/promises';
import { Double, ObjectId } from 'bson';
import type { MongoClient } from 'mongodb';
import type pg from 'pg';
import type { Targets } from '../../activities/outside.ts';
import { defaultSettings } from '../../mappings/settings.ts';
import { DualWriteManager } from '../../traffic/dual-write.ts';
import { Router } from '../../traffic/router.ts';
import type { Counters } from '../../traffic/second-write.ts';

export interface Traffic {
  readonly reads: { readonly old: number; readonly new: number };
  readonly writes: number;
  readonly errors: number;
  readonly dual: Counters | undefined;
}

export interface Application {
  traffic(): Traffic;
  /** Ends after the operations under way. */
  stop(): Promise<Traffic>;
}

const users = Array.from({ length: 50 }, (_, i) => `demo-user-${i}`);

/** `perSecond`: operations, half of them reads. Works before, during and after the migration, and knows of it only through the router. */
export async function startApplication(
  addresses: { readonly postgres: string },
  source: { readonly client: MongoClient; readonly db: ReturnType<MongoClient['db']> },
  targets: Targets,
  perSecond: number,
): Promise<Application> {
  const router = await Router.open({ postgres: addresses.postgres });
  const counts = { reads: { old: 0, new: 0 }, writes: 0, errors: 0 };
  let dual: DualWriteManager | undefined;
  let stopping = false;
  const own: ObjectId[] = [];

  const read = async () => {
    const user = users[Math.floor(Math.random() * users.length)]!;
    const side = router.sideOfRead('token_usage', user);
    counts.reads[side]++;
    if (side === 'old') await source.db.collection('token_usage').find({ session_id: user }).limit(20).toArray();
    else await recent(targets.postgres, user);
  };
  const write = async () => {
    counts.writes++;
    // The control schema comes with the migration; until then there is nothing to write a second time to.
    if (!dual && router.writeModeOf('token_usage') !== 'old')
      dual = await DualWriteManager.open({
        source,
        targets,
        routes: router,
        settings: defaultSettings,
        sampleRate: 0.2,
      });
    const collection = dual?.collection('token_usage') ?? source.db.collection('token_usage');
    const old = own.length > 20 && Math.random() < 0.4 ? own[Math.floor(Math.random() * own.length)] : undefined;
    if (old) await collection.updateOne({ _id: old }, { $inc: { output_tokens: 1 } });
    else own.push((await collection.insertOne(usage())).insertedId as ObjectId);
  };

  const running = (async () => {
    while (!stopping) {
      const next = sleep(1000 / perSecond);
      await (Math.random() < 0.5 ? read() : write()).catch(() => void counts.errors++);
      await next;
    }
  })();
  const traffic = (): Traffic => ({ ...counts, reads: { ...counts.reads }, dual: dual?.counters });
  return {
    traffic,
    async stop() {
      stopping = true;
      await running;
      // What failed has had its time to be repaired; it is looked at once more.
      for (let n = 0; n < 20 && dual && (await dual.validate()).sampled.pending > 0; n++) await sleep(200);
      const last = traffic();
      dual?.close();
      await router.close();
      return last;
    },
  };
}

const recent = (pool: pg.Pool, session: string) =>
  pool.query('select * from api_usage where session_id = $1 order by "timestamp" desc limit 20', [session]);

function usage() {
  const input = 500 + Math.floor(Math.random() * 2000);
  return {
    _id: new ObjectId(),
    timestamp: new Date(),
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
