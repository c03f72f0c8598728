// Whether change capture runs, for commands whose checks wait for it: a comparison of both sides counts only for what capture has passed.
import { captureId } from '../workflows/contract.ts';
import type { TemporalSession } from './connect.ts';
import { liveCapture } from './live.ts';
import { troublesOf } from './troubles-text.ts';

export const notRunning =
  'nobody runs it, because its workflow was ended: `causeway pause` and `causeway resume` begin it again where it stood; where no workflow of the migration runs, `causeway start` or `causeway rollback --to old` does.';

/** Of capture that has been opened: whether its workflow has ended, or was ended. */
export async function captureRests({ client }: TemporalSession, migration: string): Promise<boolean> {
  const capture = await client.workflow
    .getHandle(captureId(migration))
    .describe()
    .catch(() => undefined);
  return capture !== undefined && capture.status.name !== 'RUNNING';
}

const behindMs = 10_000;

/** What a check waits for as things are, a sentence each; nothing where capture was never opened, or keeps up. */
export async function whatChecksWaitFor(session: TemporalSession, migration: string): Promise<string[]> {
  const live = await liveCapture().catch(() => undefined);
  if (!live) return [];
  const rests = await captureRests(session, migration);
  const reasons = [
    ...(rests ? [notRunning] : []),
    ...(live.gap ? [`it has a gap (${live.gap.detail}): \`causeway repair\` closes it.`] : []),
    ...troublesOf(live),
    ...(!rests && live.lagMs > behindMs ? [`it is ${Math.round(live.lagMs / 1000)} s behind.`] : []),
  ];
  if (reasons.length === 0) return [];
  return [
    'What is compared waits until change capture has come as far.',
    ...reasons.map((one) => `Change capture: ${one}`),
  ];
}
