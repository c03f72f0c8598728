// The summary that a report begins with: where the migration stands, in a few sentences, and what is open. Pure.
import { bytes, count, duration, instant, many, percent } from './figures.ts';
import type { Report, Verdict } from './shape.ts';

type Facts = Omit<Report, 'summary'>;
type Point = Report['summary']['points'][number];

export function summaryOf(facts: Facts): Report['summary'] {
  const points = [
    stateOf(facts),
    movedOf(facts),
    checkedOf(facts),
    everyRowOf(facts),
    trafficOf(facts),
    pauseOf(facts),
    asideOf(facts),
    wayBackOf(facts),
    speedOf(facts),
  ].filter((point) => point !== undefined);
  const open = openOf(facts);
  const verdict: Verdict = points.some((point) => point.verdict === 'bad')
    ? 'bad'
    : facts.workflow.state === 'completed' && open.length === 0
      ? 'good'
      : 'open';
  return { verdict, headline: headlineOf(facts), points, open };
}

const states: Record<string, string> = {
  running: 'is running',
  paused: 'is paused',
  parked: 'stands still until somebody helps it on',
  gap: 'stands still: change capture has a gap',
  compensating: 'is going back',
  completed: 'is completed',
  aborted: 'was aborted and everything it made was removed',
  'rolled-back': 'was rolled back',
};

function headlineOf({ migration, workflow, collections }: Facts): string {
  const state =
    workflow.state === null
      ? 'left what follows; its workflow did not answer'
      : (states[workflow.state] ?? workflow.state);
  const loaded = loadedOf(collections);
  const moved =
    loaded === null
      ? ''
      : ` In the new system: ${many(loaded, 'document')} of ${many(collections.length, 'collection')}.`;
  return `Migration ${migration} ${state}.${moved}`;
}

function stateOf({ workflow, restore }: Facts): Point {
  if (restore)
    return point(
      'State',
      `A restore of checkpoint ${restore.checkpoint} has not ended: the targets are not whole`,
      'bad',
    );
  if (workflow.state === null) return point('State', workflow.note ?? 'not known', 'open');
  const where = workflow.phase === null ? '' : `, phase ${workflow.phase}`;
  const waits = workflow.waitingFor === null ? '' : `; waits for: ${workflow.waitingFor}`;
  const trouble = ['parked', 'gap'].includes(workflow.state);
  return point(
    'State',
    `${workflow.state}${where}${waits}`,
    trouble ? 'bad' : workflow.state === 'completed' ? 'good' : 'open',
  );
}

const loadedOf = (collections: Facts['collections']): number | null =>
  sum(collections.map((one) => one.now?.loaded ?? one.accounted?.loaded ?? one.copy?.documents ?? null));

function movedOf({ collections }: Facts): Point {
  const loaded = loadedOf(collections);
  if (loaded === null) return point('Moved', 'nothing yet', 'open');
  const source = sum(collections.map((one) => one.source));
  const size = sum(collections.map((one) => one.copy?.bytes ?? null));
  const of = source === null ? '' : ` (the source had ${count(source)} when it was last counted)`;
  return point(
    'Moved',
    `${many(loaded, 'document')}${of}${size === null ? '' : `; ${bytes(size)} were copied`}`,
    'plain',
  );
}

function checkedOf({ collections, validation }: Facts): Point {
  const failed = validation.filter((one) => one.status === 'failed').map((one) => one.collection);
  if (failed.length > 0) return point('Checks', `failed for ${failed.join(', ')}`, 'bad');
  const passed = validation.filter((one) => one.status === 'passed');
  const lacking = collections.filter((one) => !passed.some((its) => its.collection === one.collection));
  if (passed.length === 0) return point('Checks', 'none has run', 'open');
  const last = passed.map((one) => one.at).reduce((a, b) => (a > b ? a : b));
  return lacking.length > 0
    ? point('Checks', `passed for ${passed.length} of ${collections.length} collections`, 'open')
    : point('Checks', `passed for all ${passed.length} collections, last at ${instant(last)}`, 'good');
}

function everyRowOf({ verification }: Facts): Point {
  const last = verification.find((one) => one.state === 'finished');
  if (!last) {
    const running = verification.some((one) => one.state === 'running');
    return point('Every row', running ? 'is being verified' : 'was not verified (`causeway verify`)', 'open');
  }
  const { equal, different, open, oldestOpenSeconds, asOf } = last;
  if (!equal && !different && !open)
    return point(
      'Every row',
      `as of cluster time ${asOf ?? 'not known'}: nothing was compared, so nothing is verified`,
      'open',
    );
  const oldest = open ? `, the oldest for ${oldestOpenSeconds ?? '?'} s` : '';
  return point(
    'Every row',
    `as of cluster time ${asOf ?? 'not known'}: ${count(equal ?? 0)} keys equal, ${count(different ?? 0)} different, ${count(open ?? 0)} open${oldest}`,
    different ? 'bad' : open ? 'open' : 'good',
  );
}

function trafficOf({ collections }: Facts): Point {
  const routes = collections.flatMap((one) => (one.route ? [one.route] : []));
  if (routes.length === 0) return point('Traffic', 'all of it goes to the old system', 'plain');
  const shares = [...new Set(routes.map((one) => one.percentage))].sort((a, b) => a - b);
  const writes = [...new Set(routes.map((one) => one.writes))].map((mode) => writeModes[mode] ?? mode);
  const share = shares.length === 1 ? `${shares[0]} %` : `${shares[0]} to ${shares.at(-1)} %`;
  return point('Traffic', `${share} of reads on the new system; writes go to ${writes.join(' / ')}`, 'plain');
}

export const writeModes: Record<string, string> = {
  old: 'the old system',
  dual_write: 'both systems',
  new_system: 'the new system',
};

function pauseOf({ routing }: Facts): Point | undefined {
  const moved = routing.filter((one) => one.what === 'writes moved');
  const last = moved.at(-1);
  if (!last) return undefined;
  const longest = Math.max(...moved.map((one) => one.pauseMs ?? 0));
  const times = moved.length === 1 ? '' : `; ${moved.length} moves, the longest wait ${duration(longest)}`;
  return point(
    'Pause of writes',
    `writers waited ${duration(last.pauseMs)} when writes moved to ${writeModes[last.writes ?? ''] ?? last.writes ?? 'another system'} at ${instant(last.at)}${times}`,
    'plain',
  );
}

function asideOf({ collections, quarantine }: Facts): Point {
  const aside =
    sum(collections.map((one) => one.now?.quarantined ?? one.accounted?.quarantined ?? null)) ??
    quarantine.reduce((all, one) => all + one.open, 0);
  const skipped = sum(collections.map((one) => one.now?.skipped ?? one.accounted?.skipped ?? null)) ?? 0;
  const loaded = loadedOf(collections) ?? 0;
  const all = aside + skipped + loaded;
  const share = all === 0 ? '' : ` (${percent(aside / all)})`;
  const rest = skipped === 0 ? '' : `; ${count(skipped)} left out by the mappings' rules`;
  return aside === 0
    ? point('Set aside', `no document${rest}`, 'good')
    : point('Set aside', `${many(aside, 'document')}${share} in quarantine${rest}`, 'open');
}

function wayBackOf({ reverse }: Facts): Point | undefined {
  if (!reverse) return undefined;
  const waiting = reverse.waiting === 0 ? 'nothing waits' : `${count(reverse.waiting)} changes wait`;
  return point(
    'Way back',
    `open: ${count(reverse.documents)} documents were written back to the old system, ${waiting}; ${many(reverse.conflicts, 'conflict')}`,
    reverse.conflicts + reverse.lateWrites + reverse.unsaid > 0 ? 'open' : 'good',
  );
}

function speedOf({ performance }: Facts): Point | undefined {
  if (!performance) return undefined;
  const old = { no_slower: 'no slower than the old system', slower: 'slower than the old system' }[
    performance.againstOld
  ];
  return point(
    'Performance',
    `tests ${performance.status}${old ? `; ${old}` : ''} (${instant(performance.at)})`,
    performance.status === 'failed' ? 'bad' : performance.againstOld === 'slower' ? 'open' : 'good',
  );
}

function openOf(facts: Facts): string[] {
  const { workflow, restore, capture, reverse, collections, divergences, verification } = facts;
  const quarantined = facts.quarantine.reduce((all, one) => all + one.open, 0);
  const differing = divergences.reduce((all, one) => all + one.documents, 0);
  const gap = capture?.gaps.find((one) => one.closedAt === null);
  const last = verification.find((one) => one.state === 'finished');
  const unbalanced = collections.filter((one) => one.accounted && one.accounted.status !== 'passed');
  const failed = facts.validation.filter((one) => one.status !== 'passed');
  return [
    restore && `Finish the restore: \`causeway checkpoint restore ${restore.checkpoint} --yes\`.`,
    workflow.lastError &&
      `The last error, in ${workflow.lastError.phase} (${workflow.lastError.type}): ${workflow.lastError.message} ${workflow.lastError.advice}`,
    workflow.waitingFor && `The migration waits for: ${workflow.waitingFor}`,
    gap && `Change capture has a gap since ${instant(gap.openedAt)} (${gap.kind}): \`causeway repair\`.`,
    failed.length > 0 && `The newest validation of ${failed.map((one) => one.collection).join(', ')} did not pass.`,
    unbalanced.length > 0 &&
      `The accounting by key of ${unbalanced.map((one) => one.collection).join(', ')} does not hold.`,
    differing > 0 && `Known to be missing or to differ in the new system: ${many(differing, 'document')}.`,
    last?.different &&
      `The every-row verification found ${many(last.different, 'differing key')}: \`causeway verify --repair\`.`,
    quarantined > 0 && `${many(quarantined, 'finding')} in quarantine: \`causeway quarantine list\`.`,
    capture && capture.redo > 0 && `Waiting to be read from the source again: ${many(capture.redo, 'document')}.`,
    reverse && reverse.waiting > 0 && `Not in the old system yet: ${many(reverse.waiting, 'change')} of the new one.`,
    reverse &&
      reverse.conflicts > 0 &&
      `Changed in both systems, of which one side was kept and the other is stored: ${many(reverse.conflicts, 'document')}.`,
    reverse &&
      reverse.lateWrites > 0 &&
      `Came to the old system while the new one was authoritative: ${many(reverse.lateWrites, 'write')}.`,
    reverse &&
      reverse.unsaid > 0 &&
      `Holding something that the old system has no form for: ${many(reverse.unsaid, 'document')}.`,
  ].filter((line): line is string => typeof line === 'string' && line !== '');
}

const point = (label: string, value: string, verdict: Verdict): Point => ({ label, value, verdict });

/** null where there is no number at all. */
function sum(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((all, value) => all + value, 0);
}
