// What the stores can do with nothing in between: a cursor drained undecoded, and COPY into a table with the same columns and indexes.
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { MongoClient } from 'mongodb';
import type pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';

/** Documents per second of one cursor over the collection, undecoded; the better of two runs. */
export async function rawReadRate(url: string, collection: string): Promise<number> {
  const client = new MongoClient(url);
  try {
    const rates: number[] = [];
    for (let run = 0; run < 2; run++) {
      const cursor = client.db().collection(collection).find({}, { raw: true, batchSize: 5000 });
      const started = performance.now();
      let documents = 0;
      while ((await cursor.next()) !== null) documents += 1 + cursor.readBufferedDocuments().length;
      rates.push((documents * 1000) / (performance.now() - started));
    }
    return Math.max(...rates);
  } finally {
    await client.close();
  }
}

/** Rows per second of one COPY of the table's own rows into an empty twin, with its partitions and indexes; the better of two runs. */
export async function rawCopyRate(pool: pg.Pool, table: string, time: string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'causeway-copy-'));
  const client = await pool.connect();
  try {
    const file = join(folder, 'rows');
    await pipeline(client.query(copyTo(`copy (select * from ${table}) to stdout`)), createWriteStream(file));
    const { rows } = await client.query<{ count: string }>(`select count(*) from ${table}`);
    const rates: number[] = [];
    for (let run = 0; run < 2; run++) {
      await client.query(`create table raw_twin (like ${table} including all) partition by range ("${time}")`);
      const parts = await client.query<{ name: string; bound: string }>(
        `select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bound from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = $1::regclass`,
        [table],
      );
      for (const [i, part] of parts.rows.entries())
        await client.query(`create table raw_twin_${i} partition of raw_twin ${part.bound}`);
      const started = performance.now();
      await pipeline(
        createReadStream(file, { highWaterMark: 256 * 1024 }),
        client.query(copyFrom('copy raw_twin from stdin')),
      );
      rates.push((Number(rows[0]!.count) * 1000) / (performance.now() - started));
      await client.query('drop table raw_twin');
    }
    return Math.max(...rates);
  } finally {
    client.release();
    await rm(folder, { recursive: true, force: true });
  }
}
