// Generations: what differed or changed is looked at again, until nothing is left to look at, or only what changes faster than it can be read.
import { setTimeout as sleep } from 'node:timers/promises';
import { appliedVersion } from '../../control/capture.ts';
import {
  beginGeneration,
  countOf,
  enterVerdicts,
  nextSuspects,
  runState,
  suspectGroups,
} from '../../control/verification.ts';
import { weigh } from '../../stores/mongodb/ranges.ts';
import { settledAll } from '../settled-all.ts';
import { judge, passed } from './judge.ts';
import { sourceNow, type Verifier } from './verifier.ts';

const keysAtOnce = 1000;
const bytesAtOnce = 16 * 1024 * 1024;
/** Each takes two connections at most. */
const groupsAtOnce = 5;
/** Two prove a difference; the others are for keys that change while they are read, or wait for a unique value: the pauses grow to outlast that. */
const mostGenerations = 10;
const pauseMs = 100;
const longestPauseMs = 3000;

/** Returns false when the slice was over before everything was settled. `since`: generations of an earlier round of the run do not count. */
export async function settle(verifier: Verifier, since: number): Promise<boolean> {
  const { postgres } = verifier.resources;
  while (!verifier.slice.over()) {
    const state = await runState(postgres, verifier.run);
    if (state.generation > since) {
      if (!(await lookAgain(verifier, state.generation))) return false;
      const left = await countOf(postgres, verifier.run, 'suspect');
      if (left === 0 || state.generation - since >= mostGenerations) return true;
      await sleep(Math.min(pauseMs * 2 ** (state.generation - since), longestPauseMs));
    }
    const version = await sourceNow(verifier.resources);
    await passed(verifier, version);
    // What capture has not applied is not in the ledger yet: the generation reaches no further than it has come.
    const applied = (await appliedVersion(postgres)) ?? version;
    const reached = applied < version ? applied : version;
    const ids = verifier.scope.map((one) => one.collectionId);
    await beginGeneration(postgres, verifier.run, state, reached, ids);
  }
  return false;
}

async function lookAgain(verifier: Verifier, generation: number): Promise<boolean> {
  const { resources, run } = verifier;
  const weights = new Map<string, Promise<number>>();
  while (!verifier.slice.over()) {
    const groups = (await suspectGroups(resources.postgres, run, generation)).slice(0, groupsAtOnce);
    if (groups.length === 0) return true;
    // Most of the time goes by in waiting for capture, and what one collection waits for the others wait for too.
    const looks = groups.map(async (group) => {
      const source = verifier.grounds.find((one) => one.collectionId === group.collectionId)?.source;
      if (source !== undefined && !weights.has(source)) weights.set(source, weightIn(verifier, source));
      const weight = Math.max(1, source === undefined ? 1 : await weights.get(source)!);
      const most = Math.max(1, Math.min(keysAtOnce, Math.floor(bytesAtOnce / groups.length / weight)));
      const suspects = await nextSuspects(resources.postgres, run, generation, group, most);
      await enterVerdicts(resources.postgres, run, generation, await judge(verifier, suspects));
    });
    await settledAll(looks);
  }
  return false;
}

/** A collection that is not there any more weighs nothing. */
const weightIn = ({ resources }: Verifier, source: string): Promise<number> =>
  weigh(resources.source.db, source).then(
    ({ averageBytes }) => averageBytes,
    () => 0,
  );
