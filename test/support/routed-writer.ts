// An application that writes through the library, on whichever side is authoritative, and remembers what it wrote: the truth for a checker.
import { setTimeout as sleep } from 'node:timers/promises';
import { Double, Int32, ObjectId } from 'bson';
import type { ClientSession, Collection, Db, Document } from 'mongodb';
import type pg from 'pg';
import type { Resources } from '../../activities/resources.ts';
import { DualWriteManager } from '../../traffic/dual-write.ts';
import { Router } from '../../traffic/router.ts';
import type { World } from './world.ts';

/** Of one document, what its fields must be in the old system; null: it must not be there. `unsure`: an error left the outcome open. */
interface Expected {
  readonly collection: string;
  fields: Record<string, unknown> | null;
  unsure: boolean;
}

export class RoutedWriter {
  readonly #resources: Resources;
  readonly #router: Router;
  readonly #manager: DualWriteManager;
  readonly #expected = new Map<string, Expected>();
  readonly #people: ObjectId[];
  readonly #reports: ObjectId[];
  readonly #random: () => number;
  readonly counts = { old: 0, new: 0, errors: 0 };
  /** Errors by what they were. */
  readonly errors = new Map<string, number>();
  #stopping = false;
  #paused = false;
  #busy: Promise<void> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();

  private constructor(
    resources: Resources,
    router: Router,
    manager: DualWriteManager,
    people: ObjectId[],
    reports: ObjectId[],
    random: () => number,
  ) {
    this.#resources = resources;
    this.#router = router;
    this.#manager = manager;
    this.#people = people;
    this.#reports = reports;
    this.#random = random;
  }

  /** `random`: what is written, of what and in which order. */
  static async start(world: World, perSecond: number, random: () => number): Promise<RoutedWriter> {
    const address = (name: string) => world.environment[name]!;
    const resources = await world.resources('application');
    const router = await Router.open({ postgres: address('TARGET_POSTGRES_URL'), fenceWaitMs: 60_000 });
    const manager = await DualWriteManager.open({
      source: resources.source,
      targets: resources,
      routes: router,
      settings: { zone: 'Asia/Shanghai', providers: [] },
    });
    // Documents that stand in the targets, so that both sides have a form for a change of them.
    const loaded = async (collection: string, source: string) =>
      (
        await world.rows<{ source_id: string }>(
          `select l.source_id from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id
           where c.mapping = $1 and c.source = $2 and l.state = 'l' and not l.deleted and l.source_id ~ '^[0-9a-f]{24}$' order by 1 limit 40`,
          [collection, source],
        )
      ).map((row) => new ObjectId(row.source_id));
    const writer = new RoutedWriter(
      resources,
      router,
      manager,
      await loaded('subscription_users', 'users'),
      await loaded('analysis_results', 'analysis_results'),
      random,
    );
    writer.#running = writer.#run(perSecond);
    return writer;
  }

  get longestWaitMs(): number {
    return this.#manager.longestWaitMs;
  }

  async stop(): Promise<void> {
    if (this.#stopping) return this.#running;
    this.#stopping = true;
    await this.#running;
    this.#manager.close();
    await this.#router.close();
    await this.#resources.close();
  }

  /** Returns when no write is under way. */
  async pause(): Promise<void> {
    this.#paused = true;
    await this.#busy;
  }

  resume(): void {
    this.#paused = false;
  }

  /** Documents of the old system that are not as they were written last; outcomes that an error left open are not judged. */
  async differences(source: Db): Promise<string[]> {
    const found: string[] = [];
    for (const [id, { collection, fields, unsure }] of this.#expected) {
      if (unsure) continue;
      const document = await source.collection(collection).findOne({ _id: new ObjectId(id) });
      if (fields === null) {
        if (document) found.push(`${collection} ${id} was deleted and is there`);
        continue;
      }
      if (!document) {
        found.push(`${collection} ${id} is missing`);
        continue;
      }
      for (const [field, value] of Object.entries(fields))
        if (JSON.stringify(plain(document[field])) !== JSON.stringify(value))
          found.push(
            `${collection} ${id}: ${field} is ${JSON.stringify(plain(document[field]))}, not ${JSON.stringify(value)}`,
          );
    }
    return found;
  }

  /** The same of the new system, while that has the writes. */
  async differencesOnNew(world: Pick<World, 'target' | 'rows'>): Promise<string[]> {
    const found: string[] = [];
    for (const [id, { collection, fields, unsure }] of this.#expected) {
      if (unsure) continue;
      const there: Record<string, unknown> | null | undefined =
        collection === 'analysis_results'
          ? await world.target.collection('analysis_results_optimized').findOne({ _id: new ObjectId(id) })
          : (
              await world.rows(`select * from ${collection === 'users' ? 'users' : 'api_usage'} where source_id = $1`, [
                id,
              ])
            )[0];
      if (fields === null && there) found.push(`${collection} ${id} was deleted and is there`);
      if (fields !== null && !there) found.push(`${collection} ${id} is missing`);
      for (const [field, value] of Object.entries((there && fields) ?? {}))
        if (String(plain(there![field])) !== String(value))
          found.push(`${collection} ${id}: ${field} is ${String(plain(there![field]))}, not ${String(value)}`);
    }
    return found;
  }

  async #run(perSecond: number): Promise<void> {
    for (let n = 0; !this.#stopping; n++) {
      const next = sleep(1000 / perSecond);
      this.#busy = this.#paused ? Promise.resolve() : this.#one(n);
      await this.#busy;
      await next;
    }
  }

  async #one(n: number): Promise<void> {
    const own = [...this.#expected].filter(
      ([, one]) => one.collection === 'token_usage' && one.fields !== null && !one.unsure,
    );
    const pick = own.length > 10 ? own[Math.floor(this.#random() * own.length)] : undefined;
    const kind = n % 10;
    if (kind < 4 || !pick) await this.#insert();
    else if (kind < 7) await this.#count(pick[0], pick[1]);
    else if (kind === 7) await this.#delete(pick[0], pick[1]);
    else if (kind === 8) await this.#rename(this.#people[n % this.#people.length]!, `name ${n}`);
    else await this.#review(this.#reports[n % this.#reports.length]!, `reviewed ${n}`);
  }

  async #insert(): Promise<void> {
    const id = new ObjectId();
    const tokens = Math.floor(this.#random() * 1000) + 3;
    const document: Document = {
      _id: id,
      timestamp: new Date(),
      provider: 'deepseek',
      model_name: 'deepseek-chat',
      input_tokens: new Int32(tokens),
      output_tokens: new Int32(1),
      cost: new Double(tokens / 1000),
      currency: 'CNY',
      session_id: 'routed',
    };
    await this.#write(
      id,
      'token_usage',
      { input_tokens: tokens, output_tokens: 1, session_id: 'routed' },
      (on, session) => on.insertOne(document, { session }),
      (client) =>
        client.query(
          `insert into api_usage (source_id, "timestamp", provider, model_name, input_tokens, output_tokens, cost, currency, session_id)
           values ($1, $2, 'deepseek', 'deepseek-chat', $3, 1, $4, 'CNY', 'routed')`,
          [id.toHexString(), document['timestamp'], tokens, tokens / 1000],
        ),
    );
  }

  #count(id: string, one: Expected): Promise<void> {
    const key = new ObjectId(id);
    return this.#write(
      key,
      'token_usage',
      { ...one.fields, output_tokens: Number(one.fields!['output_tokens']) + 1 },
      (on, session) => on.updateOne({ _id: key }, { $inc: { output_tokens: 1 } }, { session }),
      (client) => client.query('update api_usage set output_tokens = output_tokens + 1 where source_id = $1', [id]),
    );
  }

  #delete(id: string, one: Expected): Promise<void> {
    const key = new ObjectId(id);
    return this.#write(
      key,
      one.collection,
      null,
      (on, session) => on.deleteOne({ _id: key }, { session }),
      (client) => client.query('delete from api_usage where source_id = $1', [id]),
    );
  }

  #rename(key: ObjectId, name: string): Promise<void> {
    return this.#write(
      key,
      'users',
      { full_name: name },
      (on, session) => on.updateOne({ _id: key }, { $set: { full_name: name } }, { session }),
      (client) => client.query('update users set full_name = $2 where source_id = $1', [key.toHexString(), name]),
    );
  }

  #review(key: ObjectId, status: string): Promise<void> {
    return this.#write(
      key,
      'analysis_results',
      { status },
      (on, session) => on.updateOne({ _id: key }, { $set: { status } }, { session }),
      () =>
        this.#resources.mongodb.db
          .collection('analysis_results_optimized')
          .updateOne({ _id: key }, { $set: { status } }),
    );
  }

  async #write(
    key: ObjectId,
    collection: string,
    fields: Record<string, unknown> | null,
    old: (on: Collection, session: ClientSession) => Promise<unknown>,
    fresh: (client: pg.ClientBase) => Promise<unknown>,
  ): Promise<void> {
    const id = key.toHexString();
    const known = this.#expected.get(id);
    try {
      const side = await this.#manager.write<'old' | 'new'>(
        collection,
        async (on, session) => (await old(on, session), 'old'),
        () => [key],
        async (client) => (await fresh(client), 'new'),
      );
      this.counts[side]++;
      this.#expected.set(id, {
        collection,
        fields,
        unsure: known?.unsure === true && fields !== null && collection === 'token_usage',
      });
    } catch (error) {
      this.counts.errors++;
      const { code, name } = error as { code?: unknown; name: string };
      const kind = `${name} ${String(code ?? '')}`.trim();
      this.errors.set(kind, (this.errors.get(kind) ?? 0) + 1);
      this.#expected.set(id, { collection, fields: known?.fields ?? null, unsure: true });
    }
  }
}

const plain = (value: unknown): unknown =>
  value !== null && typeof value === 'object' && '_bsontype' in value ? Number(value) : value;
