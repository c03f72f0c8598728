// Traffic around the demo's migration, from before its first read until after its report: a legacy writer, and an application that is routed.
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { ObjectId } from 'mongodb';
import { openResources } from '../../activities/resources.ts';
import { catchingUp } from '../../activities/capture/caught-up.ts';
import { reverseStatus } from '../../control/reverse.ts';
import { versionOf } from '../../stores/mongodb/source.ts';
import { startLegacyWriter, type Totals } from '../../seed/legacy-writer.ts';
import { home, readAddresses } from '../connect.ts';
import { liveCapture } from '../live.ts';
import { count, print, table } from '../output.ts';
import { startApplication, type Traffic, type Usage } from './application.ts';

const tellEveryMs = 5000;

/** Runs `work` under traffic of `perSecond` legacy writes and as many operations of the routed application; reports what became of it. */
export async function withTraffic(perSecond: number, work: () => Promise<unknown>): Promise<void> {
  const { addresses } = await readAddresses();
  const resources = await openResources(addresses, join(home(), 'application'), { host: 'demo', process: 'demo' });
  try {
    const legacy = startLegacyWriter({ url: addresses.source, perSecond, seed: 7 });
    const application = await startApplication(addresses, resources.source, resources, perSecond);
    const started = Date.now();
    const say = setInterval(() => void tell(legacy.totals(), application.traffic(), started), tellEveryMs);
    try {
      await work();
    } finally {
      clearInterval(say);
      const totals = await legacy.stop();
      // Only when nobody writes any more has everything arrived that is waited for: what is written to the new system comes to the old one later.
      const last = await application.stop();
      const drained = await drain(resources);
      const old = await found(resources, application.written());
      print(await trafficReport(totals, last, drained, old));
      judge(drained, old);
    }
  } finally {
    await resources.close();
  }
}

/** A demo in which something did not arrive has failed, whatever its report says. */
function judge(drained: number | undefined, { equal, of }: Found): void {
  if (equal < of)
    print(`The demo failed: ${count(of - equal)} documents that the application wrote are not so in the old system.`);
  if (drained === undefined) print('The demo failed: a minute after the last write something had not arrived yet.');
  if (equal < of || drained === undefined) process.exitCode = 1;
}

interface Found {
  readonly equal: number;
  readonly of: number;
}

const written = (totals: Totals): number => totals.insert + totals.update + totals.replace + totals.delete;

async function tell(totals: Totals, traffic: Traffic, started: number): Promise<void> {
  const seconds = (Date.now() - started) / 1000;
  const capture = await liveCapture().catch(() => undefined);
  const lag = capture
    ? `capture ${capture.lagMs} ms behind, ${count(capture.events)} events applied`
    : 'capture not open yet';
  const { old, new: fresh } = traffic.reads;
  print(
    `  traffic: ${Math.round(written(totals) / seconds)} legacy writes/s; application ${count(traffic.writes.old)} writes old, ${count(traffic.writes.new)} new; reads ${count(old)} old, ${count(fresh)} new; ${lag}`,
  );
}

/** Returns the ms until everything written stood on both sides, or undefined when it did not within a minute. */
async function drain(resources: Awaited<ReturnType<typeof openResources>>): Promise<number | undefined> {
  const started = Date.now();
  const version = versionOf((await resources.source.db.command({ ping: 1 }))['operationTime']).toString();
  const isCaughtUp = catchingUp(resources, version);
  for (; Date.now() - started < 60_000; await sleep(50)) {
    const waiting = (await reverseStatus(resources.postgres))?.waiting ?? 0;
    if (waiting === 0 && (await isCaughtUp())) return Date.now() - started;
  }
  return undefined;
}

/** How many of the application's own documents the old system holds as the application wrote them, whichever side it wrote to. */
async function found(
  { source }: Awaited<ReturnType<typeof openResources>>,
  written: ReadonlyMap<string, Usage>,
): Promise<Found> {
  const documents = await source.db
    .collection('token_usage')
    .find({ _id: { $in: [...written.keys()].map((id) => new ObjectId(id)) } })
    .toArray();
  const equal = documents.filter((document) => {
    const wanted = written.get(String(document['_id']))!;
    return (
      document['session_id'] === wanted.session_id &&
      Number(document['input_tokens']) === wanted.input_tokens &&
      Number(document['output_tokens']) === wanted.output_tokens
    );
  }).length;
  return { equal, of: written.size };
}

async function trafficReport(
  totals: Totals,
  traffic: Traffic,
  drained: number | undefined,
  old: Found,
): Promise<string> {
  const capture = await liveCapture();
  const { dual } = traffic;
  const failed = dual
    ? Object.entries(dual.failed)
        .map(([kind, n]) => `${n} ${kind}`)
        .join(', ')
    : '';
  const ms = (value: number | null | undefined) =>
    value === null || value === undefined ? '' : `${Math.round(value)} ms`;
  return table(
    ['traffic during the migration', ''],
    [
      [
        'legacy writes',
        `${count(written(totals))} (${count(totals.insert)} insert, ${count(totals.update)} update, ${count(totals.replace)} replace, ${count(totals.delete)} delete)`,
      ],
      [
        'application',
        `writes ${count(traffic.writes.old)} old and ${count(traffic.writes.new)} new, reads ${count(traffic.reads.old)} old and ${count(traffic.reads.new)} new`,
      ],
      [
        'failed operations of the application',
        Object.entries(traffic.errors)
          .map(([kind, n]) => `${n} ${kind}`)
          .join(', ') || 'none',
      ],
      ['longest wait while writes moved', `${Math.round(traffic.longestWaitMs)} ms`],
      [
        'what the application wrote, found in the old system',
        `${count(old.equal)} of ${count(old.of)} documents equal`,
      ],
      ['captured events applied', capture ? count(capture.events) : 'none'],
      ['lag p50, p99', `${ms(capture?.lagP50Ms)}, ${ms(capture?.lagP99Ms)}`],
      [
        'second writes',
        dual
          ? `${count(dual.second)}; failed: ${failed}; documents of these that capture has brought: ${count(dual.repaired)}`
          : 'dual write was never on',
      ],
      [
        'sampled second writes',
        dual
          ? `${dual.sampled.equal} equal, ${dual.sampled.unequal} unequal, ${dual.sampled.pending} not yet compared`
          : '',
      ],
      ['reads on both sides', shadowText(traffic.shadow)],
      ['drained after the last write', drained === undefined ? 'not within a minute' : ms(drained)],
    ],
  );
}

function shadowText(shadow: Traffic['shadow']): string {
  const { equal = 0, lag = 0, expected = 0, defect = 0, failed = 0 } = shadow;
  const compared = equal + lag + expected + defect;
  return `${count(compared)} compared: ${count(equal)} equal, ${count(lag)} behind, ${count(defect)} differ; ${count(failed)} not answered`;
}
