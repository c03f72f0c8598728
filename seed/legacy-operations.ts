// What the old application does to its database: new documents, changes to old ones, names handed from one user to another.
import { Double, ObjectId } from 'bson';
import { catalogue } from './catalogue.ts';
import { CollectionPlan } from './collection-plan.ts';
import { favourite } from './collections/favourite.ts';
import { value } from './collections/metadata.ts';
import { hash, Random, saltOf } from './random.ts';
import type { CollectionSeed, Document } from './shape.ts';
import { naiveLocal, withZone } from './time.ts';
import { analysisTypes, models } from './vocabulary.ts';

const DAY = 86_400_000;
/** Of one collection's keys, how many of its own the writer remembers. */
const REMEMBERED = 50_000;
/** Enough for 2,000 symbols, so that a run of any length stays among real days. */
const QUOTES = 580_000;

/** Collections, and their shares of the writes in percent. */
export const shares: Readonly<Record<string, number>> = {
  token_usage: 70,
  users: 10,
  sessions: 8,
  analysis_reports: 4,
  analysis_results: 3,
  metadata: 2,
  system_config: 1,
  stock_daily_quotes: 2,
};

export const kinds = ['insert', 'update', 'replace', 'delete'] as const;
export type Kind = (typeof kinds)[number];
type Fields = Record<string, unknown>;

export type Write = { readonly collection: string; readonly id: unknown } & (
  | { readonly kind: 'insert' | 'replace'; readonly document: Fields }
  /** `by`: a unique value that finds the document instead of its `_id`. Both together make the embedded server scan the collection. */
  | { readonly kind: 'update'; readonly by?: Fields; readonly change: Fields }
  | { readonly kind: 'delete'; readonly by?: Fields }
);

export interface Tools {
  /** Whether a document was there to be written. */
  write(write: Write): Promise<boolean>;
  read(collection: string, id: unknown): Promise<Fields | null>;
}

export interface Operation {
  readonly writes: number;
  readonly transaction: boolean;
  run(tools: Tools): Promise<void>;
}

/** `_id`s that were there before, and its own. */
class Keys {
  readonly #before: unknown[];
  readonly #least: number;
  readonly #own: unknown[] = [];

  constructor(before: readonly unknown[]) {
    this.#before = [...before];
    this.#least = before.length / 2;
  }

  add(id: unknown, random: Random): void {
    if (this.#own.length < REMEMBERED) this.#own.push(id);
    else this.#own[random.integer(0, REMEMBERED - 1)] = id;
  }

  own(random: Random): unknown {
    return this.#own[random.integer(0, this.#own.length - 1)];
  }

  /** Half from before, half its own. undefined while there is none. */
  any(random: Random): unknown {
    const list = this.#own.length === 0 || (this.#before.length > 0 && random.chance(0.5)) ? this.#before : this.#own;
    return list[random.integer(0, list.length - 1)];
  }

  /** The same, and never given again. Half of those from before stay, to be updated until the end. */
  take(random: Random): unknown {
    const mayTake = this.#before.length > this.#least && random.chance(0.5);
    const list = mayTake ? this.#before : this.#own;
    if (list.length === 0) return undefined;
    const at = random.integer(0, list.length - 1);
    const id = list[at];
    list[at] = list.at(-1);
    list.pop();
    return id;
  }
}

export class LegacyOperations {
  readonly #random: Random;
  readonly #keys: ReadonlyMap<string, Keys>;
  readonly #shapes: ReadonlyMap<string, { shape: CollectionSeed; plan: CollectionPlan }>;
  readonly #collections: readonly string[];
  /** What keeps names and keys of this run apart from those of the seed and of other runs. */
  readonly #run: number;
  #made = 0;

  /** `before`: `_id`s of documents that are there already, by collection; `users` too when it is not among the collections written. */
  constructor(collections: readonly string[], before: ReadonlyMap<string, readonly unknown[]>, seed: number) {
    this.#run = Date.now() * 1000;
    this.#random = new Random(hash(seed, saltOf('legacy'), this.#run));
    this.#collections = collections.flatMap((name) => Array.from({ length: shares[name]! }, () => name));
    this.#keys = new Map([...collections, 'users'].map((name) => [name, new Keys(before.get(name) ?? [])]));
    this.#shapes = new Map(
      catalogue.map((shape) => [
        shape.collection,
        { shape, plan: new CollectionPlan(shape.collection, seed, QUOTES, 0) },
      ]),
    );
  }

  next(): Operation {
    const random = this.#random;
    if (random.chance(0.02)) return this.#transaction();
    const collection = random.pick(this.#collections);
    const kind = this.#kind();
    if (collection === 'users' && kind === 'update' && random.chance(0.1)) return this.#handOver('users', 'username');
    if (collection === 'sessions' && kind === 'delete' && random.chance(0.3))
      return this.#handOver('sessions', 'session_id');
    const write = this.#write(collection, kind);
    return { writes: 1, transaction: false, run: async (tools) => void (await tools.write(write)) };
  }

  /** To be told of every write sent, whatever became of it: an `_id` too many does no harm. */
  sent(write: Write): void {
    if (write.kind === 'insert') this.#keys.get(write.collection)!.add(write.id, this.#random);
  }

  #kind(): Kind {
    const draw = this.#random.fraction();
    return draw < 0.6 ? 'insert' : draw < 0.85 ? 'update' : draw < 0.95 ? 'replace' : 'delete';
  }

  /** An insert where there is no document to write to. */
  #write(collection: string, kind: Kind): Write {
    const keys = this.#keys.get(collection)!;
    const id = kind === 'insert' ? undefined : kind === 'delete' ? keys.take(this.#random) : keys.any(this.#random);
    if (kind === 'insert' || id === undefined) return this.#insert(collection);
    return this.#writeTo(collection, kind, id);
  }

  #writeTo(collection: string, kind: Exclude<Kind, 'insert'>, id: unknown): Write {
    if (kind === 'delete') return { kind, collection, id };
    if (kind === 'update') return { kind, collection, id, ...this.#change(collection) };
    const { _id: _other, ...document } = this.#document(collection);
    return { kind, collection, id, document };
  }

  #insert(collection: string, fields: Fields = {}): Write {
    const document: Document = { ...this.#document(collection), ...fields };
    return { kind: 'insert', collection, id: document._id, document };
  }

  #transaction(): Operation {
    const random = this.#random;
    const writes = Array.from({ length: random.integer(2, 3) }, () =>
      this.#write(random.pick(this.#collections), this.#kind()),
    );
    if (random.chance(0.4)) writes[1] = this.#again(writes[0]!);
    return {
      writes: writes.length,
      transaction: true,
      run: async ({ write }) => {
        for (const one of writes) await write(one);
      },
    };
  }

  /** The same document once more: changed, removed, or back again after its removal. */
  #again({ collection, kind, id }: Write): Write {
    if (kind === 'delete') return this.#insert(collection, { _id: id });
    return this.#writeTo(collection, this.#random.pick(['update', 'update', 'replace', 'delete'] as const), id);
  }

  /** A unique value goes from one document to another: its owner gets a new one or is removed, then the other takes it. */
  #handOver(collection: 'users' | 'sessions', field: 'username' | 'session_id'): Operation {
    const random = this.#random;
    const keys = this.#keys.get(collection)!;
    const from = keys.own(random);
    const to = keys.own(random);
    const fresh = this.#document(collection)[field];
    const removed = collection === 'sessions' || random.chance(0.3);
    const made = removed || from === to || random.chance(0.3);
    return {
      writes: 2,
      transaction: random.chance(0.3),
      run: async ({ write, read }) => {
        const name = from === undefined ? undefined : (await read(collection, from))?.[field];
        if (typeof name !== 'string') return;
        const by = { [field]: name };
        const freed = removed
          ? await write({ kind: 'delete', collection, id: from, by })
          : await write({ kind: 'update', collection, id: from, by, change: { $set: { [field]: fresh } } });
        if (!freed) return;
        if (made) await write(this.#insert(collection, by));
        else await write({ kind: 'update', collection, id: to, change: { $set: by } });
      },
    };
  }

  #document(collection: string): Document {
    const random = this.#random;
    const { shape, plan } = this.#shapes.get(collection)!;
    const number = this.#made++;
    const document = shape.document({
      index: collection === 'stock_daily_quotes' ? number : this.#run + number,
      plain: false,
      id: new ObjectId(),
      moment: { time: Date.now(), micros: random.integer(0, 999) },
      random,
      plan,
      world: { userHex: () => this.#userHex() },
    });
    if (collection === 'stock_daily_quotes') document['data_source'] = `live_${this.#run}`;
    if (collection === 'token_usage' && random.chance(0.2)) document['user_id'] = this.#owner();
    return document;
  }

  #userHex(): string {
    const id = this.#keys.get('users')!.any(this.#random);
    const text = id instanceof ObjectId || (id as ObjectId | undefined)?._bsontype === 'ObjectId' ? String(id) : id;
    return typeof text === 'string' && /^[0-9a-f]{24}$/.test(text) ? text : this.#random.hex(24);
  }

  #owner(): unknown {
    const hex = this.#userHex();
    return this.#random.chance(0.5) ? hex : new ObjectId(hex);
  }

  #change(collection: string): { change: Fields } {
    const random = this.#random;
    const now = new Date();
    const set = (fields: Fields) => ({ change: { $set: fields } });
    switch (collection) {
      case 'token_usage': {
        const model = random.pick(models);
        return random.pick([
          () => set({ timestamp: earlier(random) }),
          () => set({ cost: new Double(random.integer(0, 5_000_000) / 1e6), currency: model.currency }),
          () => ({
            change: { $inc: { input_tokens: random.integer(1, 500), output_tokens: random.integer(1, 100) } },
          }),
          () => set({ provider: model.provider, model_name: model.name }),
          () => set({ session_id: random.uuid(), analysis_type: random.pick(analysisTypes) }),
          () => set({ user_id: this.#owner() }),
        ])();
      }
      case 'users':
        return random.pick([
          () => ({
            change: { $set: { last_login: now }, $inc: { total_analyses: 1 } },
          }),
          () => set({ is_active: random.chance(0.7), updated_at: now }),
          () =>
            set({
              preferences: {
                default_market: '港股',
                ui_theme: random.pick(['light', 'dark']),
                rev: random.word() >>> 1,
              },
            }),
          () => set({ favorite_stocks: [favourite(random, now.getTime())], updated_at: now }),
          () => set({ username: this.#document('users')['username'] }),
          () => set({ email: this.#document('users')['email'] }),
        ])();
      case 'sessions': {
        const soon = new Date(now.getTime() + random.integer(20, 2 * 86_400) * 1000);
        return random.pick([
          () => set({ last_activity: now, expires_at: soon }),
          () => set({ status: random.pick(['running', 'completed', 'failed']) }),
          () =>
            set({
              data: { stock_symbol: '600519', step: random.integer(1, 99), form_config: { custom_prompt: '🌱' } },
            }),
          () => set({ last_activity: now, expires_at: new Date(now.getTime() - 1000) }),
        ])();
      }
      case 'analysis_reports':
        return random.pick([
          () => set({ status: random.pick(['completed', 'processing', 'failed']), updated_at: now }),
          () =>
            set({ confidence_score: new Double(random.integer(1, 99) / 100), risk_level: random.pick(['中等', '高']) }),
          () => set({ summary: `修订 ${random.hex(8)} 🚀`, updated_at: now }),
        ])();
      case 'analysis_results':
        return random.pick([
          () => set({ sector: random.pick(['银行', '白酒']), analysis_type: random.pick(['deep', 'quick']) }),
          () =>
            set({ decision: { action: random.pick(['买入', '持有', '卖出']), reasoning: `第 ${random.hex(4)} 版` } }),
        ])();
      case 'stock_daily_quotes':
        return random.pick([
          () => set({ close: new Double(random.integer(500, 200_000) / 100), updated_at: now }),
          () => set({ volume: new Double(random.integer(1000, 50_000_000)), amount: new Double(random.word() / 100) }),
          () => ({ change: { $inc: { version: 1 } } }),
        ])();
      default:
        return random.chance(0.8)
          ? set({ value: value(random), updated_at: now })
          : set({ description: `说明 ${random.hex(6)}`, updated_at: now });
    }
  }
}

/** One to 400 days ago, in one of the application's three ways to write it. */
function earlier(random: Random): unknown {
  const moment = { time: Date.now() - random.integer(1, 400) * DAY, micros: random.integer(0, 999) };
  const form = random.fraction();
  return form < 0.6 ? withZone(moment) : form < 0.9 ? naiveLocal(moment) : new Date(moment.time);
}
