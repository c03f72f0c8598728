// Servers and workers killed at moments that the seed chooses, under load: at the end everything is equal.
import { expect, test } from 'vitest';
import { home } from '../support/stack.ts';
import { World } from '../support/world.ts';
import { chaos, completed, victims, type Victim } from './chaos.ts';
import { seeds, size } from './options.ts';
import { randomFrom } from './random.ts';

const { rate = 120, seconds = 60, documents = 4000 } = size;
/** Each of them once, unless a number was asked for. */
const each: readonly Victim[] = ['postgres', 'target-mongodb', 'redis', 'source-mongodb', 'temporal', 'worker'];

test.each(seeds)(
  'every server and a worker killed under load (seed %i)',
  { timeout: 600_000 + seconds * 3000 + documents * 10 },
  async (seed) => {
    const random = randomFrom(seed);
    const chosen = () => victims[Math.floor(random() * victims.length)]!;
    const world = await World.open('load');
    try {
      await world.seed(documents, 0.02, undefined, seed);
      const result = await chaos({
        environment: world.environment,
        stackHome: home,
        migration: world.name,
        rate,
        seconds,
        seed,
        kills: size.kills === undefined ? each : Array.from({ length: size.kills }, chosen),
        say: (line) => process.stdout.write(`  ${line}\n`),
      });
      process.stdout.write(`  ${JSON.stringify({ ...result, differences: result.differences.length })}\n`);
      // Together: a check that failed is judged by whether the data differ.
      expect({ end: result.end, differences: result.differences }).toEqual({ end: completed, differences: [] });
      expect(result.events).toBeGreaterThan((rate * seconds) / 4);
    } finally {
      await world.close();
    }
  },
);
