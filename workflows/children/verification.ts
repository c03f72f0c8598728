// Every-row verification while the source changes, and, where it is asked for, the repair of what differs. Its books stand in the target: a new run goes on.
import { continueAsNew, setCurrentDetails, setHandler, workflowInfo } from '@temporalio/workflow';
import type { SliceDone, Summary } from '../../activities/verify/index.ts';
import type { VerifyOrder } from '../../activities/verify/verifier.ts';
import { verificationQuery } from '../contract.ts';
import { failure, reasonOf } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { control, long } from '../proxies.ts';

export interface VerificationInput {
  readonly migration: string;
  readonly order: VerifyOrder;
  readonly repair: boolean;
  /** Abandons an unfinished run of the same scope. */
  readonly restart: boolean;
  /** Rounds of repair that an earlier run of this workflow has made. */
  readonly rounds?: number;
}

const sliceMs = 30_000;
/** A repair may uncover something (a row that others refer to came back), but not for ever. */
const mostRounds = 3;

/** Returns counts; which keys differ, and in what, stands in verification_keys. */
export async function verification(input: VerificationInput): Promise<Summary> {
  const { migration, order, repair } = input;
  let last: SliceDone | undefined;
  let doing = 'opening';
  setHandler(verificationQuery, () => ({ doing, different: last?.different ?? 0, open: last?.open ?? 0 }), {
    description: 'What the verification is doing',
  });
  introduce(migration, 'verification', story(doing, last));
  const tell = () => setCurrentDetails(story(doing, last));
  try {
    const { run, generation } = await control.openVerification(order, input.restart);
    let since = generation;
    let rounds = input.rounds ?? 0;
    const renew = async (): Promise<void> => {
      if (workflowInfo().continueAsNewSuggested)
        await continueAsNew<typeof verification>({ ...input, restart: false, rounds });
    };
    const through = async (what: string, slice: () => Promise<SliceDone>): Promise<SliceDone> => {
      for (;;) {
        doing = what;
        tell();
        last = await slice();
        tell();
        if (last.done) return last;
        await renew();
      }
    };
    for (;;) {
      await through('comparing', () => long.verifyScans(order, run, sliceMs));
      const { different } = await through('looking again', () => long.verifySettle(order, run, since, sliceMs));
      if (!repair || different === 0 || rounds === mostRounds) break;
      rounds++;
      since = await control.generationOf(run);
      await through('repairing', () => long.verifyRepair(order, run, sliceMs));
    }
    const summary = await control.closeVerification(order, run);
    doing = 'done';
    setCurrentDetails(`## Verification\n\n${sentence(summary)}`);
    if (summary.repaired > 0 || summary.restored > 0)
      await control.recordAudit('verification repaired', { ...summary });
    return summary;
  } catch (error) {
    throw failure(reasonOf(error));
  }
}

function story(doing: string, last: SliceDone | undefined): string {
  const lines = ['## Verification', '', `${doing}${last?.progress?.scan ? `: ${last.progress.scan}` : ''}`];
  if (last?.progress)
    lines.push(
      '',
      `${last.progress.compared} of about ${last.progress.total} compared; ${last.open} keys to look at again, ${last.different} different.`,
    );
  return lines.join('\n');
}

const sentence = (summary: Summary): string =>
  `Verified as of clusterTime ${summary.asOf}: ${summary.equal} keys equal, ${summary.different} different, ${summary.open} open, oldest open ${summary.oldestOpenSeconds} s; ${summary.repaired} repaired, ${summary.restored} keys set again.`;
