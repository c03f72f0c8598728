// Debian's pgbouncer in front of Debian's PostgreSQL: in session mode it serves, in the others it is recognised and refused with the reason.
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest';
import { openPool, query } from '../../stores/postgres/connection.ts';
import { refusedSteps } from '../../stores/postgres/rehearsal.ts';
import { surroundingsOf } from '../../stores/postgres/surroundings.ts';
import {
  missing,
  startPgbouncer,
  startPostgres,
  stockPgbouncer,
  stockPostgres,
  type StockPostgres,
} from '../support/stock.ts';

const password = 'p@ss:w/rd%';
const lacks = missing({ 'PostgreSQL 15': stockPostgres, pgbouncer: stockPgbouncer });
let postgres: StockPostgres | undefined;

beforeAll(async () => {
  if (lacks === undefined) postgres = await startPostgres(password);
}, 120_000);
afterAll(() => postgres?.stop());

const here = (context: TestContext): StockPostgres => {
  if (lacks !== undefined) context.skip(lacks);
  return postgres!;
};

test('straight to the server there is no pooler', async (context) => {
  const pool = openPool(here(context).url('postgres'), 4, { lockTimeoutMs: 1234 });
  const found = await surroundingsOf(pool);
  expect(found.refused).toEqual([]);
  expect(found.warnings.join()).not.toContain('pooler');
  expect(await refusedSteps(pool, false)).toEqual([]);
  await pool.end();
});

test.for([
  ['session', 60],
  ['transaction', 60],
  ['transaction', 1],
  ['statement', 60],
] as const)('pgbouncer, %s mode, a pool of %s', async ([mode, size], context) => {
  const { port } = here(context);
  const pooler = await startPgbouncer({ port, user: 'postgres', password }, mode, size);
  const pool = openPool(`postgres://postgres:${encodeURIComponent(password)}@127.0.0.1:${pooler.port}/postgres`, 4, {
    lockTimeoutMs: 1234,
    statementTimeoutMs: 54_321,
  });
  try {
    if (mode === 'session') {
      const found = await surroundingsOf(pool);
      expect(found.refused).toEqual([]);
      expect(found.warnings.join()).toContain('a pooler in session mode');
      // As start-up parameters pgbouncer refuses them.
      const [row] = await query(pool, 'looking', `select current_setting('lock_timeout') as lock`);
      expect(row).toEqual({ lock: '1234ms' });
      expect(await refusedSteps(pool, false)).toEqual([]);
    } else {
      expect((await surroundingsOf(pool)).refused.join()).toMatch(/gives a connection to others.*pool_mode = session/);
    }
  } finally {
    await pool.end();
    await pooler.stop();
  }
});
