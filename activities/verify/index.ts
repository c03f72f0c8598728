// The verification's steps as Temporal knows them: each works for a slice of time and can be begun again where it stood.
import { Context, heartbeat } from '@temporalio/activity';
import {
  countOf,
  lookForAbsentAgain,
  nextScan,
  openRun,
  runState,
  type ScanKind,
  type Scan,
} from '../../control/verification.ts';
import {
  closeRun,
  verificationProgress,
  type Summary,
  type VerificationProgress,
} from '../../control/verification-report.ts';
import { KnownFailure } from '../../core/failures.ts';
import { Slice } from '../capture/slice.ts';
import { classified } from '../failing.ts';
import type { Resources } from '../resources.ts';
import { scanDocuments } from './documents.ts';
import { scanFiles } from './files.ts';
import { planScans } from './plan.ts';
import { repairDifferent } from './repair.ts';
import { settle } from './settle.ts';
import { scanCopies, scanLedger, scanRedis, scanRows } from './target-only.ts';
import { scopeOf, sourceNow, verifierOf, type VerifyOrder } from './verifier.ts';

export type { Summary };

export interface Opened {
  readonly run: number;
  /** An earlier attempt had begun it. */
  readonly resumed: boolean;
  /** Generation that the run stands in: an earlier round's do not count. */
  readonly generation: number;
}

export interface SliceDone {
  /** false: the slice was over first. */
  readonly done: boolean;
  readonly different: number;
  /** Keys to be looked at again. */
  readonly open: number;
  readonly progress: VerificationProgress | undefined;
}

const scans: Record<ScanKind, (verifier: Awaited<ReturnType<typeof verifierOf>>, scan: Scan) => Promise<boolean>> = {
  documents: scanDocuments,
  ledger: scanLedger,
  rows: scanRows,
  copies: scanCopies,
  keys: scanRedis,
  files: scanFiles,
};

export function verifyActivities(resources: Resources) {
  const slice = (ms: number) => new Slice(ms, Context.current().cancellationSignal, (details) => heartbeat(details));
  const report = async (order: VerifyOrder, run: number, done: boolean): Promise<SliceDone> => ({
    done,
    different: await countOf(resources.postgres, run, 'different'),
    open: await countOf(resources.postgres, run, 'suspect'),
    progress: await verificationProgress(resources.postgres, scopeOf(order.collections)),
  });
  return classified({
    openVerification: async (order: VerifyOrder, restart: boolean): Promise<Opened> => {
      const { scope } = await verifierOf(resources, order, 0, slice(0));
      const unknown =
        order.collections?.filter((one) => !scope.some(({ mapping }) => mapping.collection === one)) ?? [];
      if (scope.length === 0 || unknown.length > 0)
        throw new KnownFailure(
          'ConfigurationInvalid',
          `Nothing has been migrated of ${unknown.join(', ') || 'any collection'}; the data phase of \`causeway start\` does it.`,
        );
      const opened = await openRun(
        resources.postgres,
        scopeOf(order.collections),
        await sourceNow(resources),
        restart,
        () => planScans(resources, scope),
      );
      if (order.restoreKeys && opened.resumed) await lookForAbsentAgain(resources.postgres, opened.run);
      return { ...opened, generation: (await runState(resources.postgres, opened.run)).generation };
    },
    /** Scans until all are done, or `ms` have passed. */
    verifyScans: async (order: VerifyOrder, run: number, ms: number): Promise<SliceDone> => {
      const verifier = await verifierOf(resources, order, run, slice(ms));
      let done = true;
      for (
        let scan = await nextScan(resources.postgres, run);
        scan && done;
        scan = await nextScan(resources.postgres, run)
      ) {
        done = await scans[scan.kind](verifier, scan);
      }
      return report(order, run, done);
    },
    verifySettle: async (order: VerifyOrder, run: number, since: number, ms: number): Promise<SliceDone> =>
      report(order, run, await settle(await verifierOf(resources, order, run, slice(ms)), since)),
    verifyRepair: async (order: VerifyOrder, run: number, ms: number): Promise<SliceDone> =>
      report(order, run, await repairDifferent(await verifierOf(resources, order, run, slice(ms)))),
    generationOf: async (run: number): Promise<number> => (await runState(resources.postgres, run)).generation,
    closeVerification: async (order: VerifyOrder, run: number): Promise<Summary> => {
      const { scope } = await verifierOf(resources, order, run, slice(0));
      return closeRun(
        resources.postgres,
        run,
        scope.map((one) => one.collectionId),
      );
    },
  });
}
