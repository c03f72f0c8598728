// Documents of the source, transformed anew, against what stands in the targets.
import { Readable } from 'node:stream';
import { serialize } from 'bson';
import { decode } from '../core/bson/decode.ts';
import { bufferOf, elementsIn } from '../core/bson/reader.ts';
import { idsFrom, sourceIdOf } from '../core/identity.ts';
import { parse } from '../core/json.ts';
import { refusedRule, sameIdRule } from '../core/quarantine.ts';
import type { Mapping, Outcome } from '../mappings/mapping.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { transformDocument } from '../mappings/transform.ts';
import { mongo } from '../stores/mongodb/connection.ts';
import { inTransaction, name, query } from '../stores/postgres/connection.ts';
import { columnsOf, encoderOf } from '../stores/postgres/copy.ts';
import { resolveReferences } from '../stores/postgres/references.ts';
import { copy, stageTable } from '../stores/postgres/stage.ts';
import type { Row, TableTarget } from '../stores/postgres/target.ts';
import { redis, soonGoneMs, timeOf } from '../stores/redis/connection.ts';
import { guardField as keyGuard } from '../stores/redis/script.ts';
import type { KeyRow, KeysTarget } from '../stores/redis/target.ts';
import { textOf } from '../stores/redis/value.ts';
import { Breath } from './breath.ts';
import type { Resources } from './resources.ts';

type Stores = Pick<Resources, 'postgres' | 'mongodb' | 'redis'>;

interface Expected {
  readonly id: string;
  readonly state: 'loaded' | 'quarantined' | 'skipped';
  readonly outcome: Outcome;
}
export interface Finding {
  readonly record_id: string;
  readonly status: 'match' | 'missing_in_new_system' | 'different';
  readonly differs?: string[];
  /** Keys of it that are not in Redis and need not be: it may forget what PostgreSQL keeps. */
  readonly evicted?: number;
}

/** As much as is compared at once. */
export const atOnce = 500;
export const bytesAtOnce = 4 * 1024 * 1024;

/** Documents of one source collection, undecoded. One finding for each, none of them final while changes are under way. */
export async function compareBatch(
  resources: Stores,
  mapping: Mapping,
  collectionId: number,
  batch: readonly Uint8Array[],
  transform: TransformSettings,
): Promise<Finding[]> {
  const expected = new Map<string, Expected>();
  const breath = new Breath();
  for (const raw of batch) {
    await breath.take();
    const result = transformDocument(mapping, decode(raw), transform);
    const id = sourceIdOf(raw);
    expected.set(id, { id, state: result.state, outcome: result.state === 'loaded' ? result.outcome : {} });
  }
  const differs = new Map<string, string[]>();
  const missing = new Set<string>();
  const evicted = new Map<string, number>();
  const say = (id: string, what: string) => differs.set(id, [...(differs.get(id) ?? []), what]);

  const ledger = await query<{ source_id: string; state: string; rule: string | null }>(
    resources.postgres,
    'reading the ledger',
    'select source_id, state, rule from migration_control.ledger where collection_id = $1 and source_id = any($2) and not deleted',
    [collectionId, [...expected.keys()]],
  );
  const byOthers = new Set([...mapping.unique.map(({ rule }) => rule), sameIdRule, refusedRule]);
  const states = new Map(ledger.map((row) => [row.source_id, row]));
  for (const { id, state } of expected.values()) {
    const row = states.get(id);
    if (!row) missing.add(id);
    // Of itself it would load; that another document, or its table, stands in the way is known to the ledger alone.
    else if (row.state !== (row.rule !== null && byOthers.has(row.rule) ? 'q' : state[0])) say(id, 'state');
  }
  const loaded = [...expected.values()].filter(({ id, state }) => state === 'loaded' && states.get(id)?.state === 'l');
  await resolveReferences(
    resources.postgres,
    loaded.map(({ id, outcome }) => ({ id, rows: Object.values(outcome).flat() as Row[] })),
  );
  for (const target of mapping.targets) {
    if (target.store === 'postgres') await compareRows(resources, target as TableTarget, loaded, missing, say);
    if (target.store === 'mongodb') await compareDocuments(resources, target.name, loaded, missing, say);
    if (target.store === 'redis') await compareKeys(resources, target as KeysTarget, loaded, evicted, say);
  }
  return [...expected.keys()].map((id) => {
    const found = differs.get(id);
    const absent = evicted.get(id);
    return {
      record_id: id,
      status: missing.has(id) ? 'missing_in_new_system' : found ? 'different' : 'match',
      ...(found && { differs: found }),
      ...(absent !== undefined && { evicted: absent }),
    };
  });
}

type Say = (id: string, what: string) => void;

/** Expected rows go into a staging table of the same column types, so that PostgreSQL compares values, not our text of them. */
async function compareRows(
  resources: Stores,
  target: TableTarget,
  expected: readonly Expected[],
  missing: Set<string>,
  say: Say,
): Promise<void> {
  const encode = encoderOf(target);
  const lines = expected.flatMap(({ id, outcome }) =>
    (outcome[target.name] ?? []).map((row) => encode(id, row as Row)),
  );
  if (lines.length === 0) return;
  const columns = Object.keys(target.columns);
  const differing = columns.map(
    (column) =>
      `case when t.${name(column)} is distinct from s.${name(column)} then ${`'${column.replaceAll("'", "''")}'`} end`,
  );
  await inTransaction(resources.postgres, `comparing ${target.name}`, async (client) => {
    const stage = await stageTable(client, target);
    await copy(client, stage, columnsOf(target), () => Readable.from([lines.join('')]));
    await client.query(`analyze ${stage}`);
    const { rows } = await client.query<{ source_id: string; there: boolean; differs: string[] }>(
      `select s.source_id, t.id is not null as there, array_remove(array[${differing.join(', ')}], null) as differs from ${stage} s ${joinOf(target)}`,
    );
    for (const row of rows) {
      if (!row.there) missing.add(row.source_id);
      else for (const column of row.differs) say(row.source_id, `${target.name}.${column}`);
    }
  });
}

function joinOf(target: TableTarget): string {
  const table = name(target.name);
  if (!target.child)
    return `left join ${table} t on t.source_id = s.source_id${target.time ? ` and t.${name(target.time)} = s.${name(target.time)}` : ''}`;
  const same = target.child.unique.map((column) => ` and t.${name(column)} = s.${name(column)}`).join('');
  return `left join ${name(target.child.of)} p on p.source_id = s.source_id left join ${table} t on t.${name(target.child.column)} = p.id${same}`;
}

async function compareDocuments(
  resources: Stores,
  collection: string,
  expected: readonly Expected[],
  missing: Set<string>,
  say: Say,
): Promise<void> {
  const wanted = expected.flatMap(({ id, outcome }) =>
    (outcome[collection] ?? []).map((document) => [id, document as Record<string, unknown>] as const),
  );
  const keys = idsFrom(wanted.map(([id]) => id));
  const found = await mongo(`reading ${collection}`, () =>
    resources.mongodb.db
      .collection(collection)
      .find({ _id: { $in: keys } } as never, { raw: true })
      .toArray(),
  );
  const byId = new Map((found as unknown as Uint8Array[]).map((raw) => [sourceIdOf(raw), raw]));
  for (const [id, document] of wanted) {
    const actual = byId.get(id);
    if (!actual) missing.add(id);
    else for (const field of differingFields(asWritten(document), actual)) say(id, `${collection}.${field}`);
  }
}

const asWritten = (document: Record<string, unknown>): Uint8Array => serialize(document, { ignoreUndefined: true });

/** Fields whose bytes differ, or that one side does not have. */
function differingFields(expected: Uint8Array, actual: Uint8Array): string[] {
  const [wanted, found] = [valuesOf(expected), valuesOf(actual)];
  const fields = new Set([...wanted.keys(), ...found.keys()]);
  return [...fields].filter((field) => wanted.get(field) !== found.get(field));
}

function valuesOf(document: Uint8Array): Map<string, string> {
  const bytes = bufferOf(document);
  return new Map(
    [...elementsIn(bytes)].map(({ type, nameAt, nameEnd, at, end }) => [
      bytes.toString('utf8', nameAt, nameEnd),
      `${type} ${bytes.toString('latin1', at, end)}`,
    ]),
  );
}

/** A key that is not there is counted and is no difference, whether it has expired or was evicted: Redis is authoritative for nothing. Another value is one. */
async function compareKeys(
  resources: Stores,
  target: KeysTarget,
  expected: readonly Expected[],
  evicted: Map<string, number>,
  say: Say,
): Promise<void> {
  const now = await timeOf(resources.redis);
  const wanted = expected.flatMap(({ id, outcome }) =>
    ((outcome[target.name] ?? []) as readonly KeyRow[])
      .filter((row) => row.expiresAt > now + soonGoneMs)
      .map((row) => [id, row] as const),
  );
  const values = await redis('reading keys', () =>
    Promise.all(wanted.map(([, row]) => textOf(resources.redis, target.prefix + row.key))),
  );
  for (const [i, [id, row]] of wanted.entries()) {
    const text = values[i]!;
    if (text === null) evicted.set(id, (evicted.get(id) ?? 0) + 1);
    else {
      const { [keyGuard]: _, ...actual } = parse(text) ?? {};
      if (JSON.stringify(actual) !== JSON.stringify(row.value)) say(id, target.name);
    }
  }
}
