// Generated BSON through everything that is done to a document: accounted for, untouched byte-equal, no lane stops. `--seeds` repeats a run.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadMappings } from '../../mappings/registry.ts';
import { someDocuments } from '../support/bytes-documents.ts';
import { contentChanges } from '../support/changes-of-content.ts';
import { plantedBytes } from '../support/planted-bytes.ts';
import { wrongAlone } from './bytes/alone.ts';
import { Bench } from './bytes/bench.ts';
import { Commands } from './bytes/commands.ts';
import { Round } from './bytes/round.ts';
import { seeds, size } from './options.ts';

const { seconds = 300, documents = 100 } = size;
/** Of one round; more rounds find more than larger ones. */
const perRound = Math.min(documents, 400);
/** What takes two minutes by itself is no part of a short run. */
const hasTimeForAll = seconds >= 240;
const mappings = await loadMappings();
const changeOf = new Map([...mappings.keys()].map((name) => [name, fc.oneof(...contentChanges[name]!)]));

describe.each(seeds)('seed %i', (seed) => {
  test(
    'alone: loader and verifier agree, the way back gives the same bytes, a change touches its field only',
    { timeout: seconds * 1000 + 60_000 },
    () => {
      const until = Date.now() + seconds * (hasTimeForAll ? 100 : 200);
      const found = new Map<string, string>();
      let looked = 0;
      const cases = someDocuments(mappings, seed).chain((given) =>
        changeOf.get(given.mapping)!.map((change) => ({ given, change })),
      );
      for (let round = 0; Date.now() < until; round++)
        for (const { given, change } of fc.sample(cases, { seed: seed + round * 1000, numRuns: 100 })) {
          looked++;
          for (const one of wrongAlone(mappings.get(given.mapping)!, given, change)) {
            const key = `${given.mapping}: ${one}`;
            const before = found.get(key);
            if (!before || before.length > given.bytes.length * 2) found.set(key, given.bytes.toString('hex'));
          }
        }
      process.stdout.write(`  seed ${seed}: ${looked} documents alone, ${found.size} findings\n`);
      expect([...found].map(([what, hex]) => `${what}: ${hex.slice(0, 2000)}`)).toEqual([]);
    },
  );

  test('on real stores: copy to way back, round after round', { timeout: seconds * 1000 + 600_000 }, async () => {
    const until = Date.now() + seconds * (hasTimeForAll ? 450 : 800);
    const found: string[] = [];
    for (let round = 0; round === 0 || Date.now() < until; round++) {
      const began = Date.now();
      // By itself: `--seeds` with this one.
      const replaying = seed + round * 1000;
      const bench = await Bench.open();
      try {
        const { findings, ...outcome } = await new Round(bench, replaying).run(perRound);
        process.stdout.write(
          `  seed ${replaying}: ${JSON.stringify(outcome)}, ${findings.length} findings, ${Math.round((Date.now() - began) / 1000)} s\n`,
        );
        found.push(...findings);
      } finally {
        await bench.close();
      }
    }
    expect(found).toEqual([]);
  });

  test.skipIf(!hasTimeForAll)(
    'as its users run it: the whole migration there and back',
    { timeout: 900_000 },
    async () => {
      const began = Date.now();
      const machine = await Commands.open();
      try {
        const planted = plantedBytes.map(({ bytes }) => ({
          source: 'analysis_results',
          mapping: 'analysis_results',
          bytes,
          ordinary: false,
        }));
        const { findings, ...outcome } = await new Round(machine, seed).run(perRound, planted);
        process.stdout.write(
          `  seed ${seed}, whole: ${JSON.stringify(outcome)}, ${findings.length} findings, ${Math.round((Date.now() - began) / 1000)} s\n`,
        );
        expect(findings).toEqual([]);
      } finally {
        await machine.close();
      }
    },
  );
});
