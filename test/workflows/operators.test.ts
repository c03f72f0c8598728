// Random orders, good and bad, at random moments, with activities that fail at random: no workflow fails by a defect, whatever is reached has an order
// that leads out, nothing that counts is removed, and every history replays. `npm run soak -- operators` goes on for longer.
import { expect, test } from 'vitest';
import { isSoak, seeds, size } from '../soak/options.ts';
import { newAccount, Round, type Account } from '../support/operator.ts';
import { withWorkflows } from '../support/workflow-env.ts';

const seconds = size.seconds ?? 8;
const ordersOfARound = 50;
const lanes = 3;

async function play(seed: number, number: number, account: Account): Promise<void> {
  const said: string[] = [];
  const its = { ...newAccount(), coverage: account.coverage };
  // There is time then to replay at every task.
  await withWorkflows({ uncached: isSoak }, async (run) => {
    const round = new Round(run, seed * 1000 + number, its, said);
    await round.play(ordersOfARound);
    await round.end();
  });
  account.rounds += its.rounds;
  account.orders += its.orders;
  account.findings.push(...its.findings);
  if (its.findings.length > 0)
    process.stdout.write(`  round ${number} of seed ${seed}:\n${said.map((one) => `    ${one}\n`).join('')}`);
}

test.each(seeds)(
  'random orders lead nowhere that documented ones do not lead out of (seed %i)',
  { timeout: 120_000 + seconds * 4000 },
  async (seed) => {
    const account = newAccount();
    const until = Date.now() + seconds * 1000;
    let number = 0;
    // What a round does most is wait: several go on side by side, each with a migration of its own.
    const lane = async () => {
      while (Date.now() < until && account.findings.length === 0) await play(seed, number++, account);
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    process.stdout.write(
      `  ${account.rounds} rounds, ${account.orders} orders, ${account.coverage.size} orders in states\n`,
    );
    expect(account.findings).toEqual([]);
  },
);
