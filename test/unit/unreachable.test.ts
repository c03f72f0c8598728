// Who cannot be reached is said with side, host, port and the reason, wherever in the work it is met.
import { createServer } from 'node:net';
import { once } from 'node:events';
import { MongoServerError } from 'mongodb';
import { expect, test } from 'vitest';
import { presentTables } from '../../activities/checkpoint/rows.ts';
import { mongo, mongoFailure, openMongo } from '../../stores/mongodb/connection.ts';
import { created } from '../../stores/postgres/created.ts';
import { openPool, postgresFailure, query } from '../../stores/postgres/connection.ts';
import { openRedis, redis, redisFailure } from '../../stores/redis/connection.ts';

const soon = 'directConnection=true&serverSelectionTimeoutMS=400&connectTimeoutMS=300';

test('MongoDB: both sides, also after one of them closed the connection', async () => {
  const closing = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(closing, 'listening');
  const { port } = closing.address() as { port: number };
  const source = openMongo(`mongodb://user:zzq@127.0.0.1:1/app?${soon}`, 'source');
  const target = openMongo(`mongodb://127.0.0.1:${port}/app?${soon}`, 'target');
  try {
    await expect(mongo('counting users', () => source.db.collection('users').countDocuments())).rejects.toMatchObject({
      type: 'StoreUnreachable',
      message:
        'MongoDB, counting users: the source MongoDB at 127.0.0.1:1 cannot be reached or closed the connection (ECONNREFUSED)',
    });
    await expect(mongo('writing', () => target.db.collection('x').findOne())).rejects.toMatchObject({
      type: 'StoreUnreachable',
      message: expect.stringContaining(`the target MongoDB at 127.0.0.1:${port} cannot be reached`) as string,
    });
  } finally {
    await source.client.close();
    await target.client.close();
    closing.close();
  }
});

test('PostgreSQL and Redis', async () => {
  const pool = openPool('postgres://user:zzq@127.0.0.1:1/app', 1);
  await expect(query(pool, 'reading the routes', 'select 1')).rejects.toMatchObject({
    type: 'StoreUnreachable',
    message: expect.stringMatching(
      /^PostgreSQL, reading the routes: the target PostgreSQL at 127.0.0.1:1 cannot be reached or closed the connection \(ECONNREFUSED\)$/,
    ) as string,
  });
  // Whatever asks a pool, and not only through `query`.
  for (const asked of [created(pool, 'mongodb'), presentTables(pool)])
    await expect(asked).rejects.toMatchObject({ type: 'StoreUnreachable' });
  await pool.end();
  const connection = openRedis('redis://:zzq@127.0.0.1:1/0');
  await expect(redis('asking for the time', () => connection.time())).rejects.toMatchObject({
    type: 'StoreUnreachable',
    message: expect.stringContaining('the target Redis at 127.0.0.1:1 cannot be reached') as string,
  });
  connection.disconnect();
});

test('who answers and refuses is quoted, not called unreachable', async () => {
  // As pgbouncer refuses a start-up parameter that it does not know.
  const fields = ['SFATAL', 'C08P01', 'Munsupported startup parameter: lock_timeout', ''].join('\0') + '\0';
  const answer = Buffer.concat([Buffer.from('E'), Buffer.alloc(4), Buffer.from(fields)]);
  answer.writeInt32BE(answer.length - 1, 1);
  const pooler = createServer((socket) => socket.once('data', () => socket.end(answer))).listen(0, '127.0.0.1');
  await once(pooler, 'listening');
  const pool = openPool(`postgres://u:p@127.0.0.1:${(pooler.address() as { port: number }).port}/app`, 1);
  await expect(query(pool, 'reading', 'select 1')).rejects.toMatchObject({
    message: expect.stringContaining(
      'refuses the connection (unsupported startup parameter: lock_timeout, 08P01)',
    ) as string,
  });
  await pool.end();
  pooler.close();
});

const failing = (message: string, code?: string) => Object.assign(new Error(message), code !== undefined && { code });

test.each<[unknown, string]>([
  [postgresFailure(failing('cannot execute INSERT in a read-only transaction', '25006'), 'x'), 'StoreUnreachable'],
  [postgresFailure(failing('could not read block', '58030'), 'x'), 'StoreBusy'],
  [postgresFailure(failing('database is being accessed by other users', '55006'), 'x'), 'StoreBusy'],
  [postgresFailure(failing('transaction timeout', '25P04'), 'x'), 'StoreBusy'],
  [mongoFailure(new MongoServerError({ code: 11601, errmsg: 'interrupted' }), 'x'), 'StoreBusy'],
  [mongoFailure(new MongoServerError({ code: 290, errmsg: 'transaction lived too long' }), 'x'), 'StoreBusy'],
  [mongoFailure(new MongoServerError({ code: 14031, errmsg: 'out of disk' }), 'x'), 'DiskFull'],
  [redisFailure(failing('Command aborted due to connection close'), 'x'), 'StoreUnreachable'],
  [redisFailure(failing('Socket timeout. Expecting data'), 'x'), 'StoreUnreachable'],
  [redisFailure(failing('ERR max number of clients reached'), 'x'), 'StoreBusy'],
])('what passes by itself is no defect: %o', (failure, type) => {
  expect(failure).toMatchObject({ type });
});

test('a user or password that MongoDB refuses: which server, and what is forgotten most', () => {
  const failure = mongoFailure(new MongoServerError({ code: 18, errmsg: 'Authentication failed.' }), 'x');
  expect(failure).toMatchObject({
    type: 'AuthenticationFailed',
    message: expect.stringMatching(/server.* refuses the user or password \(code 18\).*authSource/) as string,
  });
});
