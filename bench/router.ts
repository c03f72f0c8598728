// npm run bench -- router: what a routing decision costs, on a router that follows a real PostgreSQL.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { table } from '../cli/output.ts';
import { route } from '../activities/route.ts';
import { makeControlSchema } from '../control/schema.ts';
import { checkout } from '../stack/home.ts';
import { down, up } from '../stack/index.ts';
import { openPool } from '../stores/postgres/connection.ts';
import { Router } from '../traffic/router.ts';

const decisions = 1_000_000;
const rounds = 7;

export async function benchRouter(): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'causeway-bench-'));
  const values = { CAUSEWAY_HOME: home, CAUSEWAY_TOOLS: join(checkout, '.causeway', 'tools') };
  try {
    const servers = await up(undefined, values);
    const pool = openPool(servers.TARGET_POSTGRES_URL, 2);
    await makeControlSchema(pool, 'bench');
    await route({ postgres: pool } as never, {
      collections: ['token_usage'],
      percentage: 50,
      writeMode: 'dual_write',
      reason: 'bench',
    });
    const router = await Router.open({ postgres: servers.TARGET_POSTGRES_URL });
    const users = Array.from({ length: 1024 }, (_, i) => `68f9b1c2d3e4f5a6b7${i.toString(16).padStart(6, '0')}`);
    const kinds: Record<string, (i: number) => unknown> = {
      'read of a user': (i) => router.sideOfRead('token_usage', users[i & 1023]),
      'read without a user': () => router.sideOfRead('token_usage'),
      'write mode': () => router.writeModeOf('token_usage'),
    };
    const rows = Object.entries(kinds).map(([kind, decide]) => {
      const measured = Array.from({ length: rounds }, () => measure(decide)).sort((a, b) => a - b);
      return [kind, Math.round(measured[rounds >> 1]!), Math.round(measured[0]!), Math.round(measured.at(-1)!)];
    });
    process.stdout.write(`${table(['decision', 'ns, median', 'least', 'most'], rows)}\n`);
    await router.close();
    await pool.end();
  } finally {
    await down(values);
    await rm(home, { recursive: true, force: true });
  }
}

/** Nanoseconds per decision; results are used, so that none is optimised away. */
function measure(decide: (i: number) => unknown): number {
  let used = 0;
  const started = process.hrtime.bigint();
  for (let i = 0; i < decisions; i++) if (decide(i) === 'new') used++;
  const took = Number(process.hrtime.bigint() - started) / decisions;
  if (used > decisions) throw new RangeError('more decisions than were made');
  return took;
}
