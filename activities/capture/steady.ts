// Before a migration is said to be complete: capture has caught up, and nothing of it fails, for nobody looks as closely afterwards.
import { setTimeout as sleep } from 'node:timers/promises';
import { readStream } from '../../control/capture.ts';
import { troublesNow } from '../../control/troubles.ts';
import type { Resources } from '../resources.ts';
import { nowAtSource } from '../settled.ts';
import { comingTogether } from './caught-up.ts';
import { Patience } from './slice.ts';

const askEveryMs = 200;

/** At once where there is no capture any more. `say` tells what is waited for, as the activity's heartbeat. */
export async function awaitSteady(
  resources: Resources,
  say: (sentence: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { postgres } = resources;
  const patience = new Patience({ say: (sentence) => say(String(sentence)) });
  let isCaughtUp: (() => Promise<boolean>) | undefined;
  while (!signal.aborted) {
    try {
      if (!(await readStream(postgres))) return;
      isCaughtUp ??= comingTogether(resources, await nowAtSource(resources));
      const caughtUp = await isCaughtUp();
      const [trouble] = await troublesNow(postgres);
      await patience.rewarded();
      if (caughtUp && !trouble) return;
      // While something failed more may have been left behind: it counts from when nothing fails.
      if (caughtUp) isCaughtUp = undefined;
      say(trouble ? `${trouble.who} fails (${trouble.type}): ${trouble.message}` : 'change capture is behind');
      await sleep(askEveryMs);
    } catch (error) {
      await patience.after(error);
    }
  }
}
