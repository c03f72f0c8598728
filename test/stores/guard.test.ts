// The guard in each store: of two writes in any order the newer stays, an older is refused, a repeated one changes nothing.
import { Readable } from 'node:stream';
import { Int32, serialize } from 'bson';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeControlSchema } from '../../control/schema.ts';
import { makeCollection } from '../../stores/mongodb/schema.ts';
import { guardOf } from '../../stores/mongodb/guards.ts';
import { writeDocuments } from '../../stores/mongodb/loader.ts';
import { encoderOf } from '../../stores/postgres/copy.ts';
import { readOp, versionOfRead } from '../../core/guard.ts';
import { encodeError, ledgerEncoder, type LedgerRow } from '../../stores/postgres/ledger.ts';
import { loadSegment, type Batch } from '../../stores/postgres/loader.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { makeTables, monthsAround } from '../../stores/postgres/schema.ts';
import {
  hypertable,
  jsonb,
  table,
  text,
  timestamptz,
  type Row,
  type TableTarget,
} from '../../stores/postgres/target.ts';
import { openRedis, type RedisConnection } from '../../stores/redis/connection.ts';
import { loadKeys, removeKeys, retireKeys } from '../../stores/redis/loader.ts';
import { RedisCluster } from '../support/redis-cluster.ts';
import { World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await World.open('guard');
});
afterAll(() => world.close());

describe('PostgreSQL', () => {
  const usage = hypertable('usage', { time: 'at', columns: { at: timestamptz({ notNull: true }), note: text() } });
  const people = table('people', { columns: { name: text({ notNull: true }) } });
  const settings = table('people_settings', {
    child: { of: 'people', column: 'person_id', unique: ['kind'] },
    columns: { kind: text({ notNull: true }), value: jsonb() },
  });
  let pool: ReturnType<typeof openPool>;
  let batches = 0;

  beforeAll(async () => {
    pool = openPool(world.environment['TARGET_POSTGRES_URL']!, 4);
    await makeControlSchema(pool, world.name);
    await makeTables(pool, [usage, people, settings], monthsAround(new Date(), 24, 2));
    await pool.query(
      `insert into migration_control.collections (mapping, source) values ('usage', 'usage'), ('people', 'people')`,
    );
    for (const id of [1, 2])
      await pool.query(
        `create table migration_control.ledger_${id} partition of migration_control.ledger for values in (${id})`,
      );
  });
  afterAll(() => pool.end());

  type Loading = { id: string; state?: LedgerRow['state']; rows?: Partial<Record<string, Row[]>> }[];

  async function load(collectionId: 1 | 2, version: bigint, documents: Loading, batchId = `batch-${++batches}`) {
    const targets: TableTarget[] = collectionId === 1 ? [usage] : [people, settings];
    const name = collectionId === 1 ? 'usage' : 'people';
    const encode = ledgerEncoder(collectionId, 1);
    const ledger = documents.map(({ id, state = 'loaded', rows }) =>
      encode({
        sourceId: id,
        version: versionOfRead(version),
        state,
        deleted: state === 'skipped' && rows === undefined,
        digest: 0n,
        rule: state === 'loaded' ? undefined : 'some_rule',
        place: rows?.['usage']?.[0]?.['at'] as number | undefined,
      }),
    );
    const errors = documents
      .filter((one) => one.state === 'quarantined')
      .map((one) =>
        encodeError({
          collection: name,
          sourceCollection: name,
          sourceId: one.id,
          rule: 'some_rule',
          path: 'x',
          message: 'm',
          document: '{}',
          mappingVersion: 1,
          bsonType: 'missing',
        }),
      );
    const batch: Batch = {
      batchId,
      collection: name,
      collectionId,
      chunk: 0,
      segment: 0,
      afterId: null,
      lastId: null,
      endsChunk: false,
      documents: documents.length,
      loaded: 0,
      quarantined: 0,
      skipped: 0,
      bytes: 0,
      version,
      startedAt: new Date(),
      attempt: 1,
      runId: 'r',
    };
    return loadSegment(pool, batch, {
      collectionId,
      siblings: [collectionId],
      referencedBy: [],
      unresolved: undefined,
      ledger: () => Readable.from([ledger.join('')]),
      errors: errors.length > 0 ? () => Readable.from([errors.join('')]) : undefined,
      tables: targets.map((target) => ({
        target,
        rows: () =>
          Readable.from([
            documents
              .flatMap(({ id, rows }) => (rows?.[target.name] ?? []).map((row) => encoderOf(target)(id, row)))
              .join('') || '',
          ]),
      })),
    });
  }
  const day = (n: number) => Date.UTC(2026, n, 1) * 1000;
  const notes = async () =>
    Object.fromEntries(
      (await pool.query<{ source_id: string; note: string }>('select source_id, note from usage order by 1')).rows.map(
        (row) => [row.source_id, row.note],
      ),
    );

  test('newer wins, older is refused, in any order, also when the row moves to another month', async () => {
    expect(
      await load(1, 10n, [
        { id: 'a', rows: { usage: [{ at: day(0), note: 'ten' }] } },
        { id: 'b', rows: { usage: [{ at: day(0), note: 'ten' }] } },
      ]),
    ).toBe(0);
    expect(await load(1, 12n, [{ id: 'a', rows: { usage: [{ at: day(3), note: 'twelve' }] } }])).toBe(0);
    expect(
      await load(1, 11n, [
        { id: 'a', rows: { usage: [{ at: day(1), note: 'eleven' }] } },
        { id: 'c', rows: { usage: [{ at: day(1), note: 'eleven' }] } },
      ]),
    ).toBe(1);
    expect(await notes()).toEqual({ a: 'twelve', b: 'ten', c: 'eleven' });
  });

  test('a batch loaded twice changes nothing, and two at once leave one', async () => {
    const documents = [{ id: 'd', rows: { usage: [{ at: day(0), note: 'once' }] } }];
    const both = await Promise.all([load(1, 20n, documents, 'twin'), load(1, 20n, documents, 'twin')]);
    expect([...both].sort()).toEqual([0, undefined]);
    expect((await pool.query(`select 1 from usage where source_id = 'd'`)).rowCount).toBe(1);
  });

  test('writers racing for the same keys end with the newest of each', async () => {
    const keys = Array.from({ length: 40 }, (_, i) => `race-${String(i).padStart(2, '0')}`);
    const versions = [31n, 35n, 33n, 34n, 32n];
    const one = (version: bigint): Promise<unknown> =>
      load(
        1,
        version,
        keys.map((id) => ({ id, rows: { usage: [{ at: day(Number(version % 3n)), note: String(version) }] } })),
        `race-${version}-${++batches}`,
      ).catch((error: { type?: string }) => {
        // What Temporal does with a write that lost a race.
        if (error.type === 'StoreBusy') return one(version);
        throw error;
      });
    await Promise.all(versions.map(one));
    const { rows } = await pool.query<{ note: string; count: string }>(
      `select note, count(*) from usage where source_id like 'race-%' group by 1`,
    );
    expect(rows).toEqual([{ note: '35', count: '40' }]);
  });

  test('a newer good version leaves quarantine, a newer bad one takes the row away', async () => {
    await load(1, 40n, [{ id: 'q', state: 'quarantined' }]);
    await load(1, 41n, [{ id: 'q', rows: { usage: [{ at: day(0), note: 'good' }] } }]);
    expect(
      (await pool.query(`select resolved_at from migration_control.migration_errors where source_id = 'q'`)).rows[0]
        .resolved_at,
    ).not.toBeNull();
    await load(1, 42n, [{ id: 'q', state: 'quarantined' }]);
    expect((await pool.query(`select 1 from usage where source_id = 'q'`)).rowCount).toBe(0);
    expect((await pool.query(`select state from migration_control.accounting where source_id = 'q'`)).rows).toEqual([
      { state: 'quarantined' },
    ]);
  });

  test('a delete leaves a tombstone: an older image that comes later is refused, a newer one is not', async () => {
    await load(1, 50n, [{ id: 't', rows: { usage: [{ at: day(0), note: 'there' }] } }]);
    expect(await load(1, 52n, [{ id: 't', state: 'skipped' }])).toBe(0);
    expect(await load(1, 51n, [{ id: 't', rows: { usage: [{ at: day(0), note: 'late' }] } }])).toBe(1);
    expect((await pool.query(`select 1 from usage where source_id = 't'`)).rowCount).toBe(0);
    expect((await pool.query(`select 1 from migration_control.accounting where source_id = 't'`)).rowCount).toBe(0);
    await load(1, 53n, [{ id: 't', rows: { usage: [{ at: day(2), note: 'again' }] } }]);
    expect(await notes()).toMatchObject({ t: 'again' });
    expect(await load(1, 60n, [{ id: 'never-seen', state: 'skipped' }])).toBe(0);
    expect(await load(1, 59n, [{ id: 'never-seen', rows: { usage: [{ at: day(0), note: 'late' }] } }])).toBe(1);
  });

  test('a parent keeps its id, and its children are replaced as a whole', async () => {
    await load(2, 10n, [
      {
        id: 'p',
        rows: {
          people: [{ name: 'old' }],
          people_settings: [
            { kind: 'a', value: 1 },
            { kind: 'b', value: 2 },
          ],
        },
      },
    ]);
    const [{ id }] = (await pool.query('select id from people')).rows;
    await load(2, 11n, [{ id: 'p', rows: { people: [{ name: 'new' }], people_settings: [{ kind: 'b', value: 3 }] } }]);
    expect((await pool.query('select id, name from people')).rows).toEqual([{ id, name: 'new' }]);
    expect((await pool.query('select person_id, kind, value from people_settings')).rows).toEqual([
      { person_id: id, kind: 'b', value: 3 },
    ]);
  });

  test('a batch of three reads three rows of a ledger and of a table of many', async () => {
    const many = Array.from({ length: 1500 }, (_, i) => ({ id: `many-${i}`, rows: { people: [{ name: String(i) }] } }));
    await load(2, 70n, many);
    await pool.query('analyze');
    const read = async () => {
      // Each connection sends its counts when it is told to; all of them are busy at once.
      const all = Array.from({ length: 4 }, () => pool.query('select pg_sleep(0.1), pg_stat_force_next_flush()'));
      await Promise.all(all);
      const { rows } = await pool.query<{ read: string }>(
        `select sum(seq_tup_read + idx_tup_fetch) as read from pg_stat_user_tables where relname in ('ledger_2', 'people')`,
      );
      return Number(rows[0]!.read);
    };
    const before = await read();
    await load(2, 71n, many.slice(100, 103));
    const fetched = (await read()) - before;
    expect(fetched).toBeGreaterThan(0);
    expect(fetched).toBeLessThan(100);
  });
});

describe('MongoDB', () => {
  const place = { collection: 'guarded', owner: 1, siblings: [1] };

  test('newer wins, older is refused, the validator holds', async () => {
    await makeCollection(world.target, {
      store: 'mongodb',
      name: 'guarded',
      schema: { bsonType: 'object', required: ['n'], properties: { n: { bsonType: 'int' } } },
      indexes: [{ n: 1 }],
    });
    const write = async (time: bigint, n: number | undefined, id = 'x') => {
      const document = n === undefined ? undefined : serialize({ _id: id, n: new Int32(n) });
      return (await writeDocuments(written(), place, [{ id, version: { time, op: 5 }, document }])).stale;
    };
    const found = async (id = 'x') => (await world.target.collection('guarded').findOne({ _id: id as never }))?.['n'];
    expect(await write(10n, 10)).toBe(0);
    expect(await write(12n, 12)).toBe(0);
    expect(await write(11n, 11)).toBe(1);
    expect(await write(12n, 12)).toBe(1);
    expect(await found()).toBe(12);
    await expect(
      writeDocuments(written(), place, [
        { id: 'y', version: { time: 13n, op: 0 }, document: serialize({ _id: 'y', n: 'text' }) },
      ]),
    ).rejects.toMatchObject({ type: 'TargetConflict' });
    // What the validator refused has left no version behind.
    expect(await write(12n, 1, 'y')).toBe(0);
    expect(await write(14n, undefined)).toBe(0);
    expect(await write(13n, 13)).toBe(1);
    expect(await found()).toBeUndefined();
    expect(await write(20n, undefined, 'never-seen')).toBe(0);
    expect(await write(19n, 19, 'never-seen')).toBe(1);
    expect(await found('never-seen')).toBeUndefined();
    expect(await world.target.collection(guardOf('guarded')).countDocuments()).toBe(3);
  });

  test('writers racing for the same documents, deletes among them, end with the newest of each', async () => {
    const ids = Array.from({ length: 30 }, (_, i) => `race-${i}`);
    const versions = [5n, 9n, 7n, 8n, 6n];
    await Promise.all(
      versions.map((time) =>
        writeDocuments(
          written(),
          place,
          ids.map((id, i) => ({
            id,
            version: { time, op: readOp },
            document: time === 9n && i % 2 === 0 ? undefined : serialize({ _id: id, n: new Int32(Number(time)) }),
          })),
        ),
      ),
    );
    const left = await world.target
      .collection('guarded')
      .find({ n: { $lt: 10 }, _id: /^race/ as never })
      .toArray();
    expect(left.map((one) => one['n'])).toEqual(Array.from({ length: 15 }, () => 9));
  });
});

describe.each(['single', 'cluster'])('Redis, %s', (mode) => {
  let connection: RedisConnection;
  let stop = async (): Promise<void> => undefined;
  beforeAll(async () => {
    if (mode === 'single') connection = openRedis(world.environment['TARGET_REDIS_URL']!);
    else {
      const cluster = await RedisCluster.start(world.environment, 0);
      stop = () => cluster.stop();
      connection = openRedis(cluster.url);
    }
  });
  afterAll(async () => {
    connection.disconnect();
    await stop();
  });
  const far = Date.now() + 3_600_000;
  const write = (
    rows: { key: string; sourceId: string; rank: string; text: string; expiresAt?: number }[],
    version: string,
  ) =>
    loadKeys(
      connection,
      'session:',
      rows.map(({ text: shown, expiresAt = far, ...row }) => ({
        ...row,
        owner: 1,
        expiresAt,
        value: { shown },
        version: versionOfRead(BigInt(version)),
      })),
    );
  const shown = async (key: string) =>
    (JSON.parse((await connection.get(`session:${key}`)) ?? '{}') as { shown?: string }).shown;

  test('versions of one document, and two documents that claim one key', async () => {
    const keys = Array.from({ length: 50 }, (_, i) => `k${i}`);
    await write(
      keys.map((key) => ({ key, sourceId: 'a', rank: '1', text: 'first' })),
      '0002',
    );
    expect(
      await write(
        keys.map((key) => ({ key, sourceId: 'a', rank: '1', text: 'older' })),
        '0001',
      ),
    ).toMatchObject({ stale: 50 });
    await write([{ key: 'k0', sourceId: 'b', rank: '2', text: 'higher' }], '0001');
    expect(await write([{ key: 'k0', sourceId: 'a', rank: '1', text: 'lower' }], '0009')).toMatchObject({ stale: 1 });
    expect([await shown('k0'), await shown('k1')]).toEqual(['higher', 'first']);
  });

  test('a removed key is not written again by an older version, also when it never was there', async () => {
    const remove = (key: string, time: bigint) =>
      retireKeys(connection, [{ key: `session:${key}`, owner: 1, sourceId: 'a', version: versionOfRead(time) }]);
    await write([{ key: 'r', sourceId: 'a', rank: '1', text: 'there' }], '10');
    expect(await remove('r', 9n)).toBe(0);
    expect(await remove('r', 12n)).toBe(1);
    expect(await write([{ key: 'r', sourceId: 'a', rank: '1', text: 'late' }], '11')).toMatchObject({ stale: 1 });
    expect(await remove('never', 12n)).toBe(0);
    expect(await write([{ key: 'never', sourceId: 'a', rank: '1', text: 'late' }], '11')).toMatchObject({ stale: 1 });
    // Another document may take the key, and keeps it when the first is removed again.
    await write([{ key: 'r', sourceId: 'b', rank: '0', text: 'other' }], '1');
    await remove('r', 20n);
    expect(await shown('r')).toBe('other');
    await connection.del('session:r');
  });

  test('keys with braces have their removals in their own slot, and all of it is found again', async () => {
    const keys = [
      'a}b',
      '{}x',
      '{}a}',
      '{a}b',
      '{a}:causeway',
      'a{b',
      '}{c}',
      '}',
      '{',
      'a}{}',
      '',
      '名 {前}',
      '{'.repeat(9999),
    ];
    await write(
      keys.map((key) => ({ key, sourceId: 'a', rank: '1', text: key })),
      '1',
    );
    for (const key of keys) expect(await shown(key)).toBe(key);
    const removals = keys.map((key) => ({
      key: `session:${key}`,
      owner: 1,
      sourceId: 'a',
      version: versionOfRead(2n),
    }));
    expect(await retireKeys(connection, removals)).toBe(keys.length);
    expect(await write([{ key: 'a}b', sourceId: 'a', rank: '1', text: 'older' }], '1')).toMatchObject({ stale: 1 });
    // 50 keys, and the tombstones of two, of tests before.
    expect(await removeKeys(connection, 'session:')).toBe(52 + keys.length);
  });

  test('what has expired is not written, and only our keys are removed: neither what the application has set, nor keys of another type', async () => {
    expect(
      await write([{ key: 'gone', sourceId: 'a', rank: '1', text: 'x', expiresAt: Date.now() - 1 }], '1'),
    ).toMatchObject({ expired: 1, written: 0 });
    await connection.rpush('session:foreign', 'not ours');
    await expect(write([{ key: 'foreign', sourceId: 'a', rank: '1', text: 'x' }], '1')).rejects.toThrow();
    await write([{ key: 'own', sourceId: 'a', rank: '1', text: 'x' }], '1');
    await connection.set('session:refilled', JSON.stringify({ session_id: 'refilled' }), 'PX', 60_000);
    expect(await removeKeys(connection, 'session:')).toBe(1);
    expect(await connection.lrange('session:foreign', 0, -1)).toEqual(['not ours']);
    expect(await connection.get('session:refilled')).not.toBeNull();
    await connection.del('session:foreign');
    await connection.del('session:refilled');
  });
});

const written = () => ({ db: world.target, session: async () => world.target.client.startSession() });
