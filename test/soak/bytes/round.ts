// Some hundred documents through everything: copied, captured, verified, damaged and repaired, tried again, put back, brought back from the new side.
import { setTimeout as sleep } from 'node:timers/promises';
import { serialize } from 'bson';
import fc from 'fast-check';
import type { Db, Document, Filter, UpdateFilter } from 'mongodb';
import { RawValue } from '../../../core/bson/raw-value.ts';
import { bsonType, elementNamed } from '../../../core/bson/reader.ts';
import { idOf, sourceIdOf } from '../../../core/identity.ts';
import { groupBy } from '../../../activities/verify/group.ts';
import { wholeDocument } from '../../../control/reverse.ts';
import { documentOf } from '../../support/bson-bytes.ts';
import { fieldsOf, someDocuments, type Given } from '../../support/bytes-documents.ts';
import { offerBytes, updateBytes } from '../../support/raw-wire.ts';
import { keepsOrder, touched } from '../../support/way-back.ts';
import { randomFrom } from '../random.ts';
import { Told } from './events.ts';
import type { Machine } from './machine.ts';
import { sieve, type Sieved } from './sieve.ts';
import { accountFor, besideThem, keyOf, stored, type Stored } from './stored.ts';

export interface Outcome {
  readonly documents: number;
  readonly loaded: number;
  readonly quarantined: number;
  readonly skipped: number;
  readonly left: Sieved['left'];
  /** Documents and replacements that the server did not take: their `_id` is there already, mostly. */
  readonly refused: number;
  /** Documents of which its change stream tells another image than it holds. */
  readonly retold: number;
  readonly changed: number;
  /** Changes that did not come back, because the server does not update under such an `_id`. */
  readonly notReplaced: number;
  readonly findings: readonly string[];
}

/** By table or collection of the target: the column that is changed, and the field of the old document it shows in. */
const changes: readonly (readonly [target: string, column: string, mapping: string])[] = [
  ['users', 'full_name', 'subscription_users'],
  ['api_usage', 'analysis_type', 'token_usage'],
  ['sessions', 'status', 'sessions'],
  ['app_metadata', 'description', 'metadata'],
  ['market_data', 'data_source', 'stock_daily_quotes'],
];
const optimised = 'analysis_results_optimized';

/**
 * An application that goes on writing beside what is migrated: the embedded server's change stream tells of time only with its changes, and who waits for
 * capture would wait for seconds each time.
 */
function beating(source: Db): { end(): Promise<void> } {
  let over = false;
  const beats = (async () => {
    while (!over) {
      await source.collection(besideThem).updateOne({}, { $inc: { n: 1 } }, { upsert: true });
      await sleep(50);
    }
  })();
  return {
    end: async () => {
      over = true;
      await beats;
    },
  };
}

export class Round {
  readonly #machine: Machine;
  readonly #seed: number;
  readonly #random: () => number;
  readonly #findings: string[] = [];
  #refused = 0;
  #retold = 0;
  #changed = 0;
  #notReplaced = 0;
  readonly #excused = new Set<string>();
  #told!: Told;

  constructor(machine: Machine, seed: number) {
    this.#machine = machine;
    this.#seed = seed;
    this.#random = randomFrom(seed);
  }

  /** `planted`: copied beside those that are generated. */
  async run(count: number, planted: readonly Given[] = []): Promise<Outcome> {
    const { world, resources } = this.#machine;
    const made = fc.sample(someDocuments(resources.mappings, this.#seed), { seed: this.#seed, numRuns: count });
    const { taken: given, left } = await sieve(resources, this.#url, made);
    const half = given.length >> 1;
    this.#told = await Told.from(resources);
    const beat = beating(world.source);
    try {
      await this.#step('insert', () => this.#insert([...planted, ...given.slice(0, half)]));
      await this.#step('copy', () => this.#machine.copy());
      await this.#machine.run();
      await this.#step('live changes', () => this.#change(given.slice(half)));
      await this.#arrived();
      await this.#step('account', () => this.#account());
      await this.#equal('after capture');
      await this.#step('validate', async () => this.#found(...(await this.#machine.validate())));
      await this.#step('repair', () => this.#repair());
      await this.#step('retry', () => this.#retry());
      await this.#step('restore', () => this.#restore());
      await this.#step('way back', () => this.#back());
      await this.#equal('after the way back');
      await this.#machine.pause();
    } finally {
      await beat.end();
      await this.#told.close();
    }
    const { loaded, quarantined, skipped } = await accountFor(world, await stored(world.source));
    return {
      documents: planted.length + given.length,
      loaded,
      quarantined,
      skipped,
      left,
      refused: this.#refused,
      retold: this.#retold,
      changed: this.#changed,
      notReplaced: this.#notReplaced,
      findings: this.#findings,
    };
  }

  async #step(what: string, work: () => Promise<unknown>): Promise<void> {
    const began = Date.now();
    try {
      await work();
    } catch (error) {
      const { stack, name, type, message } = error as Error & { type?: string };
      this.#found(`${what}: ${type ?? name}: ${message} ${(stack ?? '').split('\n').slice(1, 6).join(' ')}`);
    }
    process.stdout.write(`    ${what}: ${Date.now() - began} ms\n`);
  }

  #found(...what: string[]): void {
    for (const one of what) process.stdout.write(`    found: ${one}\n`);
    this.#findings.push(...what);
  }

  get #url(): string {
    return this.#machine.world.environment['SOURCE_MONGODB_URL']!;
  }

  async #insert(given: readonly Given[]): Promise<void> {
    for (const [source, some] of groupBy(given, (one) => one.source))
      this.#refused += (
        await offerBytes(
          this.#url,
          source,
          some.map((one) => one.bytes),
        )
      ).length;
  }

  /** New ones; and of those that are there some replaced by others, some with a field set, some deleted. */
  async #change(given: readonly Given[]): Promise<void> {
    const { source } = this.#machine.world;
    const there = [...(await stored(source)).values()].filter(() => this.#random() < 0.3);
    await this.#insert(given.slice(there.length));
    for (const [n, { source: collection, bytes }] of there.entries()) {
      const id = elementNamed(bytes, '_id')!;
      const key = new RawValue(id.type, bytes.subarray(id.at, id.end));
      const other = given.find((one, at) => at > n && one.source === collection);
      if (n % 3 === 0 && other) {
        const fields = fieldsOf(other.bytes).filter(([name]) => name.toString() !== '_id');
        const whole = documentOf([['_id', { type: id.type, bytes: bytes.subarray(id.at, id.end) }], ...fields]);
        const update = serialize(
          { q: { _id: key }, u: new RawValue(bsonType.object, whole) },
          { ignoreUndefined: false },
        );
        this.#refused += (await updateBytes(this.#url, collection, [update])).length;
      } else if (n % 3 === 1)
        await source
          .collection(collection)
          .updateOne({ _id: idOf(bytes) } as never, { $set: { note_of_change: n } })
          .catch(() => this.#refused++);
      else await source.collection(collection).deleteOne({ _id: idOf(bytes) } as never);
    }
  }

  async #arrived(): Promise<void> {
    this.#found(...(await this.#machine.caughtUp()));
  }

  /** Documents that the server itself tells otherwise than it holds them are taken away, and counted. */
  async #account(): Promise<void> {
    const { world } = this.#machine;
    const documents = await stored(world.source);
    const account = await accountFor(world, documents);
    const told = await this.#told.lastImages();
    for (const key of account.otherImage) {
      const { source, bytes } = documents.get(key)!;
      const last = told.get(key);
      if (!last || bytes.equals(last)) {
        this.#found(
          `${source}: the ledger has another image than source and change stream: ${bytes.toString('hex').slice(0, 4000)}`,
        );
        continue;
      }
      this.#retold++;
      await world.source.collection(source).deleteOne({ _id: idOf(bytes) } as never);
    }
    this.#found(...account.wrong);
    await this.#arrived();
    const left = await stored(world.source);
    const again = await accountFor(world, left);
    this.#found(...again.wrong.filter((one) => !account.wrong.includes(one)));
    if (again.loaded + again.quarantined + again.skipped !== left.size)
      this.#found(`${left.size} documents, and ${JSON.stringify(again)} of them accounted for`);
  }

  async #equal(when: string): Promise<void> {
    await this.#step(`verify ${when}`, async () => {
      const documents = await stored(this.#machine.world.source);
      for (const { kind, collection, source, id, finding, differs, state } of await this.#machine.verify()) {
        if (source !== null && this.#excused.has(keyOf({ source, id }))) continue;
        const bytes = source === null ? undefined : documents.get(keyOf({ source, id }))?.bytes;
        this.#found(
          `verify ${when}: ${kind} of ${source ?? collection} ${id.slice(0, 200)} is ${state} ${finding ?? ''} (${differs.join(', ')}): ${bytes?.toString('hex').slice(0, 4000) ?? 'not in the source'}`,
        );
      }
    });
  }

  /** Rows, documents and ledger rows lost and changed behind the migration's back. */
  async #repair(): Promise<void> {
    const { world } = this.#machine;
    await this.#machine.pause();
    for (const [table, column] of changes) {
      await world.rows(`delete from ${table} where id in (select id from ${table} order by md5(source_id) limit 3)`);
      await world.rows(
        `update ${table} set ${column} = 'damaged' where id in (select id from ${table} order by md5(source_id || 'x') limit 3)`,
      );
    }
    const documents = await world.target
      .collection(optimised)
      .find({}, { projection: { _id: 1 }, raw: true })
      .limit(6)
      .toArray();
    for (const [n, raw] of (documents as unknown as Buffer[]).entries()) {
      const filter = { _id: idOf(raw) } as never;
      if (n % 2 === 0) await world.target.collection(optimised).deleteOne(filter);
      else await this.#set(filter, { $set: { summary: 'damaged' } });
    }
    await this.#machine.run();
    const left = (await this.#machine.verify(true)).filter((one) => one.state !== 'repaired');
    for (const one of left) this.#found(`after a repair: ${JSON.stringify(one).slice(0, 1000)}`);
    await this.#equal('after a repair');
  }

  async #retry(): Promise<void> {
    const before = await accountFor(this.#machine.world, await stored(this.#machine.world.source));
    const report = await this.#machine.retry();
    if (report.documents !== before.quarantined)
      this.#found(`a retry tried ${report.documents} of ${before.quarantined} documents: ${JSON.stringify(report)}`);
    const { wrong } = await accountFor(this.#machine.world, await stored(this.#machine.world.source));
    this.#found(...wrong.map((one) => `after a retry: ${one}`));
  }

  async #restore(): Promise<void> {
    const { world } = this.#machine;
    await this.#machine.snapshot('whole');
    await world.rows('delete from api_usage; delete from sessions; delete from market_data');
    await world.target.collection(optimised).deleteMany({});
    await world.redis.flushdb();
    await this.#machine.restore('whole');
    await this.#arrived();
    await this.#equal('after a restore');
  }

  /** Writes move, everything is written to as it is, some of it changed, and writes come back. */
  async #back(): Promise<void> {
    const { world } = this.#machine;
    const before = await stored(world.source);
    await this.#machine.moveWrites();
    const changed = new Map<string, string>();
    for (const [table, column, mapping] of changes) {
      await world.rows(`update ${table} set ${column} = ${column}`);
      const rows = await world.rows<{ source_id: string }>(
        `update ${table} set ${column} = 'changed' where id in (select id from ${table} order by md5(source_id || $1) limit 8) returning source_id`,
        [`${this.#seed}`],
      );
      for (const row of rows) changed.set(`${mapping}\t${row.source_id}`, column);
    }
    const documents = (await world.target
      .collection(optimised)
      .find({}, { projection: { _id: 1 }, raw: true })
      .toArray()) as unknown as Buffer[];
    for (const [n, raw] of documents.entries()) {
      const filter = { _id: idOf(raw) } as never;
      if (n < 8) {
        if (await this.#set(filter, { $set: { summary: 'changed' } }))
          changed.set(`analysis_results\t${sourceIdOf(raw)}`, 'summary');
      } else if (n < 60 && (await this.#set(filter, { $set: { touched: 1 } })))
        await this.#set(filter, { $unset: { touched: 1 } });
    }
    this.#changed = changed.size;
    this.#found(...(await this.#machine.broughtBack()));
    const aside = await world.rows<{ source: string; source_id: string; paths: string }>(
      `select c.source, u.source_id, u.paths from migration_control.reverse_unsaid u join migration_control.collections c on c.id = u.collection_id
       where u.paths like '${wholeDocument} (%'`,
    );
    for (const { source, source_id: id, paths } of aside) {
      const { bytes } = before.get(keyOf({ source, id }))!;
      if (await this.#isKept(source, bytes)) {
        this.#found(`${source}: the way back sets aside ${paths}: ${bytes.toString('hex').slice(0, 4000)}`);
        continue;
      }
      // It differs from here on, and the server is why.
      process.stdout.write(`    not updated by the server: ${source} ${id.slice(0, 200)}: ${paths}\n`);
      this.#notReplaced++;
      this.#excused.add(keyOf({ source, id }));
    }
    await this.#compare(before, changed);
    await this.#machine.moveBack();
    await this.#arrived();
  }

  /** Whether the server replaces the document, and has the bytes that it was given, in a collection of its own. */
  async #isKept(source: string, bytes: Buffer): Promise<boolean> {
    const { db } = this.#machine.resources.source;
    const beside = `beside_${source}`;
    const id = elementNamed(bytes, '_id')!;
    const q = { _id: new RawValue(id.type, bytes.subarray(id.at, id.end)) };
    await offerBytes(this.#url, beside, [bytes]);
    // As the product replaces what an update has no room for.
    const update = serialize({ q, u: { $set: { replaced: true } } }, { ignoreUndefined: false });
    const refused = await updateBytes(this.#url, beside, [update]);
    await db.collection(beside).drop();
    return refused.length === 0;
  }

  /** Whether the server knows how to: it does not update under every `_id` that it keeps. */
  async #set(filter: Filter<Document>, update: UpdateFilter<Document>): Promise<boolean> {
    const { target } = this.#machine.world;
    return target
      .collection(optimised)
      .updateOne(filter, update)
      .then(
        ({ matchedCount }) => matchedCount === 1,
        () => false,
      );
  }

  async #compare(before: ReadonlyMap<string, Stored>, changed: ReadonlyMap<string, string>): Promise<void> {
    const { world, resources } = this.#machine;
    const after = await stored(world.source);
    const mappingOf = (source: string) =>
      [...resources.mappings.values()].find((one) => one.collection === source || one.aliases.includes(source));
    const reached = new Set<string>();
    for (const [key, one] of before) {
      const now = after.get(key);
      if (now?.bytes.equals(one.bytes)) continue;
      const mapping = mappingOf(one.source);
      const field = mapping && changed.get(`${mapping.collection}\t${one.id}`);
      const hex = one.bytes.toString('hex').slice(0, 4000);
      if (!now) this.#found(`${one.source}: not in the old system any more: ${hex}`);
      else if (field === undefined)
        this.#found(`${one.source}: untouched, and other bytes: ${hex} -> ${now.bytes.toString('hex').slice(0, 4000)}`);
      else {
        reached.add(field);
        const others = touched(mapping!, one.bytes, now.bytes).filter((name) => name !== field);
        if (others.length > 0 || !keepsOrder(one.bytes, now.bytes))
          this.#found(
            `${one.source}: a change of ${field} touched ${others.join(', ')}: ${hex} -> ${now.bytes.toString('hex').slice(0, 4000)}`,
          );
      }
    }
    for (const key of after.keys()) if (!before.has(key)) this.#found(`made in the old system: ${key.slice(0, 300)}`);
    for (const field of new Set(changed.values()))
      if (!reached.has(field)) this.#found(`no change of ${field} has come to the old system`);
  }
}
