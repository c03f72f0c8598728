// Every call to a store may be cut, slow, half done, or done and not answered: each step of a migration, with something wrong at each of its requests.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { faults as allFaults, loudFaults } from '../support/faulty-line.ts';
import { World } from '../support/world.ts';
import { seeds, size } from './options.ts';
import { randomFrom } from './random.ts';
import { Bench, places, planText, type Plan } from './surroundings-bench.ts';
import { stormyMigration } from './surroundings-storm.ts';
import {
  Application,
  applying,
  bringingBackStep,
  catchUp,
  copying,
  dualWriting,
  moving,
  reading,
  repairing,
  restoring,
  type Step,
} from './surroundings-steps.ts';

const quietFaults = new Set<string>(allFaults.filter((fault) => !(loudFaults as readonly string[]).includes(fault)));
const seconds = size.seconds ?? 60;
/** Faults that a client learns of by its own time-outs only take their time: so many for each step and minute. */
const quietPerMinute = 2;

let world: World;
let bench: Bench | undefined;
afterEach(async () => {
  await bench?.close();
  bench = undefined;
  await world?.close();
});

test.each(seeds)(
  'each step with a fault at each of its requests to each store (seed %i)',
  { timeout: (seconds + 600) * 1000 },
  async (seed) => {
    world = await World.open('faulty');
    await world.seed(300, 0.02, undefined, seed);
    const worker = await world.worker();
    const settings = join(world.home, 'settings.json');
    await writeFile(settings, JSON.stringify({ quarantineBudget: 0.9 }));
    const ran = await world.causeway(['start', '--until', 'data', '--wait', '--config', settings]);
    expect(ran.code, ran.stdout + ran.stderr).toBe(0);
    await world.temporal.workflow.getHandle(`migration/${world.name}/capture`).terminate('the bench does it');
    worker.kill('SIGKILL');
    bench = await Bench.open(world);
    const random = randomFrom(seed);
    const application = new Application(bench);
    const steps = [
      copying(bench, application),
      reading(bench, application),
      applying(bench, application),
      repairing(bench, application),
      restoring(bench, application),
      dualWriting(bench, application),
      moving(bench),
      bringingBackStep(bench),
    ];
    let n = 0;
    for (const [at, step] of steps.entries()) {
      bench.at = `seed ${seed} ${step.name}`;
      await step.before?.();
      n = await everyFault(bench, step, { seed, random, first: n, ms: (seconds * 1000) / steps.length });
      bench.at = `seed ${seed} after ${step.name}`;
      await step.after?.();
      await catchUp(bench);
      if (at !== steps.length - 1 || bench.findings.length === 0) await bench.differences();
    }
    process.stdout.write(
      `  seed ${seed}: ${n} rounds, ${bench.calls} calls, ${bench.faulted} of them faulted; attempts that failed: ${[...bench.failures].map(([type, times]) => `${times} ${type}`).join(', ')}; ${bench.findings.length} findings\n`,
    );
    expect(bench.findings).toEqual([]);
  },
);

// Takes minutes whatever it is given: not in the short round.
test.skipIf(seconds < 60).each(seeds)(
  'through storms and calm: data, writes there and back twice, with an application that writes (seed %i)',
  { timeout: 1_200_000 },
  async (seed) => {
    world = await World.open('storm');
    const findings: string[] = [];
    const find = (what: string) => {
      findings.push(what);
      process.stdout.write(`  FOUND seed ${seed} storm: ${what}\n`);
    };
    await world.seed(1000, 0.01, undefined, seed);
    const began = performance.now();
    const done = await stormyMigration({ world, random: randomFrom(seed), share: 0.01, find });
    process.stdout.write(`  storm, seed ${seed}: ${done}; ${Math.round((performance.now() - began) / 1000)} s\n`);
    expect(findings).toEqual([]);
  },
);

interface Rounds {
  readonly seed: number;
  readonly random: () => number;
  readonly first: number;
  readonly ms: number;
}

/** What goes wrong at each request of each store, in an order that the seed shuffles, as many as there is time for. Returns the number of the next round. */
async function everyFault(bench: Bench, step: Step, { seed, random, first, ms }: Rounds): Promise<number> {
  let n = first;
  bench.plan(undefined);
  await step.run(n);
  const asked = bench.asked();
  bench.settle();
  await step.check(n++);
  const plans = places.flatMap((store) =>
    Array.from({ length: asked[store] }, (_, i) => i + 1).flatMap((number) =>
      (store === 'disk' ? (step.disk ?? []) : allFaults).map((fault): Plan => ({ store, number, fault })),
    ),
  );
  const shuffled = plans.map((plan) => ({ plan, at: random() })).sort((a, b) => a.at - b.at);
  const loud = shuffled.filter(({ plan }) => !quietFaults.has(plan.fault));
  const quiet = shuffled.filter(({ plan }) => quietFaults.has(plan.fault));
  const due = [...quiet.slice(0, Math.ceil((ms / 60_000) * quietPerMinute)), ...loud].map(({ plan }) => plan);
  let until = performance.now() + ms;
  let done = 0;
  let fired = 0;
  const only = process.env['SOAK_PLAN'];
  for (const plan of only === undefined ? due : due.filter((one) => planText(one) === only)) {
    if (performance.now() > until) break;
    const began = performance.now();
    bench.at = `seed ${seed} ${step.name}: ${planText(plan)}`;
    bench.plan(plan);
    await step.run(n).catch((error: unknown) => bench.find(`ends with ${String(error)}`));
    if (bench.settle()) fired++;
    await step.check(n++).catch((error: unknown) => bench.find(`afterwards: ${String(error)}`));
    done++;
    // They take the time that the product's own time-outs take.
    if (quietFaults.has(plan.fault)) until += performance.now() - began;
  }
  process.stdout.write(
    `  ${step.name}: ${places.map((place) => `${asked[place]} ${place}`).join(', ')} requests; ${done} of ${plans.length} plans, ${fired} came to their request\n`,
  );
  return n;
}
