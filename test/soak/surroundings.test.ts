// Every call to a store may be cut, slow, half done, or done and not answered: each step of a migration, with something wrong at each of its requests.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { World } from '../support/world.ts';
import { isShort, seeds, size } from './options.ts';
import { randomFrom } from './random.ts';
import { Bench } from './surroundings-bench.ts';
import { Plans, readPlans, type Sort } from './surroundings-plans.ts';
import { stormyMigration } from './surroundings-storm.ts';
import {
  Application,
  capturing,
  bringingBackStep,
  catchUp,
  copying,
  dualWriting,
  moving,
  repairing,
  restoring,
  type Step,
} from './surroundings-steps.ts';

const seconds = isShort ? 60 : (size.seconds ?? 60);
/** Of one step alone, or what a finding has printed: only the step that it names, with nothing else going wrong, some times. */
const [only, again] = process.env['SOAK_PLAN']?.split('=') ?? [];
const timesAgain = 6;
/** Share of the time of a step after which faults are such that a client learns of them by its own time-outs only. */
const loudShare = 0.7;

let world: World;
let bench: Bench | undefined;
afterEach(async () => {
  await bench?.close();
  bench = undefined;
  await world?.close();
});

test.skipIf(only === 'storm').each(seeds)(
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
    const application = new Application(bench);
    const steps = [
      copying(bench, application),
      capturing(bench, application),
      repairing(bench, application),
      restoring(bench, application),
      dualWriting(bench, application),
      moving(bench),
      bringingBackStep(bench),
    ];
    const last = only === undefined ? steps.length - 1 : steps.findIndex(({ name }) => name === only);
    expect(last, `a step called ${only}`).toBeGreaterThanOrEqual(0);
    let n = 0;
    let left = seconds * 1000;
    const sums = { tried: 0, all: 0 };
    for (const [at, step] of steps.slice(0, last + 1).entries()) {
      bench.at = `seed ${seed} ${step.name}`;
      bench.stepName = step.name;
      await step.before?.();
      // Those before the one that is asked for lead up to it.
      if (only === undefined || at === last) {
        const weights = steps.slice(at, last + 1).reduce((sum, { weight }) => sum + weight, 0);
        // What a step leaves of its time is the others'.
        const ms = Math.max(left, 0) * (step.weight / weights);
        const done = await everyFault(bench, step, { random: randomFrom(seed * 100 + at), first: n, ms });
        left -= done.ms;
        n += done.rounds;
        sums.tried += done.tried;
        sums.all += done.all;
      }
      bench.at = `seed ${seed} after ${step.name}`;
      await step.after?.();
      if (step.goesOn && at !== last) continue;
      await catchUp(bench);
      await bench.aside();
      if (at !== last || bench.findings.length === 0) await bench.differences();
    }
    process.stdout.write(
      `  seed ${seed}: ${n} rounds, ${sums.tried} of ${sums.all} plans, ${bench.calls} calls, ${bench.faulted} of them faulted; attempts that failed: ${[...bench.failures].map(([type, times]) => `${times} ${type}`).join(', ')}; ${bench.findings.length} findings\n`,
    );
    expect(bench.findings).toEqual([]);
  },
);

// Takes minutes whatever it is given: not in the short round.
test.skipIf(only === undefined ? isShort || seconds < 60 : only !== 'storm').each(seeds)(
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
  readonly random: () => number;
  readonly first: number;
  readonly ms: number;
}

interface Done {
  readonly rounds: number;
  readonly tried: number;
  readonly all: number;
  readonly ms: number;
}

/** What goes wrong at calls of each kind, as much as there is time for. */
async function everyFault(bench: Bench, step: Step, { random, first, ms }: Rounds): Promise<Done> {
  let n = first;
  const at = bench.at;
  const round = async (sort?: Sort): Promise<number> => {
    bench.at = `${at}, round ${n - first}`;
    bench.plan(plans, sort);
    await step.run(n).catch((error: unknown) => bench.find(`ends with ${String(error)}`));
    const fired = bench.settle();
    await step.check(n++).catch((error: unknown) => bench.find(`afterwards: ${String(error)}`));
    return fired;
  };
  const plans = new Plans(random, step.disk);
  await round();
  const calls = bench.asked;
  plans.plan(calls);
  const began = performance.now();
  if (again === undefined)
    for (const [sort, share] of [
      ['loud', loudShare],
      ['quiet', 1],
    ] as const)
      // Each step has one such round, also where those before it took all the time.
      for (
        let idle = 0;
        (performance.now() - began < ms * share || plans.tried === 0) && plans.hasLeft(sort) && idle < 4;
      ) {
        idle = (await round(sort)) > 0 ? 0 : idle + 1;
        // Not every call comes in every round.
        if (idle > 1) plans.takeFirst();
      }
  else
    for (let i = 0; i < timesAgain; i++) {
      plans.only(readPlans(again));
      await round('replay');
    }
  const took = performance.now() - began;
  process.stdout.write(
    `  ${step.name}: ${calls} requests of ${plans.kinds} kinds; ${plans.tried} of ${plans.all} plans in ${n - first} rounds, ${Math.round(took / 100) / 10} s\n`,
  );
  return { rounds: n - first, tried: plans.tried, all: plans.all, ms: took };
}
