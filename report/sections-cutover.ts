// The tables of the cutover: routing, decisions and what they rest on, change capture and the way back.
import { clusterInstant, count, duration } from './figures.ts';
import { html, table, type Markup } from './markup.ts';
import { kinds, n, number, when, word, type Section } from './cells.ts';
import type { Report } from './shape.ts';
import { writeModes } from './summary.ts';

export const cutoverSections = (report: Report): Section[] => [
  { id: 'routing', title: 'Routing, fences and pauses', body: routing(report) },
  { id: 'decisions', title: 'Decisions', body: decisions(report) },
  { id: 'evidence', title: 'Evidence', body: evidence(report) },
  { id: 'capture', title: 'Change capture', body: capture(report) },
  { id: 'reverse', title: 'The way back', body: reverse(report) },
];

const routing = ({ routing: rows, collections }: Report): Markup =>
  html` ${table(
      ['at', 'what', n('reads on new'), 'writes', n('fence, at most'), n('writers waited'), 'collections', 'why'],
      rows.map((one) => [
        when(one.at),
        one.what,
        one.percentage === null ? null : `${one.percentage} %`,
        one.writes === null ? null : (writeModes[one.writes] ?? one.writes),
        one.fenceMs === null ? null : duration(one.fenceMs),
        one.pauseMs === null ? null : duration(one.pauseMs),
        one.collections.length > 3 ? `${one.collections.length} collections` : one.collections.join(', '),
        one.reason,
      ]),
      'No traffic has been moved.',
    )}
    <h3>Now</h3>
    ${table(
      ['collection', n('reads on new'), 'writes', n('epoch')],
      collections.flatMap(({ collection, route }) =>
        route
          ? [[collection, `${route.percentage} %`, writeModes[route.writes] ?? route.writes, count(route.epoch)]]
          : [],
      ),
      'Everything goes to the old system.',
    )}`;

const decisions = ({ decisions: rows }: Report): Markup =>
  table(
    ['at', 'decision', 'severity', 'stage', 'why'],
    rows.map((one) => [when(one.at), one.decision, one.severity, one.stage, one.reason]),
    'Nothing has been decided yet.',
  );

const evidence = ({ evidence: { stages, notable } }: Report): Markup =>
  html` <p class="soft">
      Each stage is sampled while it is watched; a sample says to go on, to hold or to roll back. Reads are the
      application's, or the migration's own probes where its routers report none.
    </p>
    ${table(
      [
        'stage',
        n('samples'),
        n('go on'),
        n('hold'),
        n('roll back'),
        'reads by',
        n('reads, old'),
        n('errors, old'),
        n('mean, old'),
        n('reads, new'),
        n('errors, new'),
        n('mean, new'),
        n('compared'),
        n('differing'),
        'from',
        'to',
      ],
      stages.map((one) => [
        one.stage,
        count(one.samples),
        count(one.verdicts.continue),
        count(one.verdicts.hold),
        count(one.verdicts.rollback),
        one.source,
        count(one.old.reads),
        count(one.old.errors),
        duration(one.old.meanMs),
        count(one.new.reads),
        count(one.new.errors),
        duration(one.new.meanMs),
        count(one.compared),
        count(one.failed),
        when(one.from),
        when(one.to),
      ]),
      'No stage has been watched.',
    )}
    <h3>Samples that did not say to go on</h3>
    ${table(
      ['at', 'stage', 'said', 'how', 'severity', 'why'],
      notable.map((one) => [
        when(one.at),
        one.stage,
        word(one.action),
        one.mode,
        one.severity,
        html`${one.reasons.map((reason) => html`<div>${reason}</div>`)}`,
      ]),
      'None.',
    )}`;

function capture({ capture: its }: Report): Markup {
  if (!its) return html`<p class="none">Change capture has not been opened, or was taken down.</p>`;
  return html`${table(
      ['figure', n('value')],
      [
        ['Captured from cluster time', clusterInstant(its.openedAt)],
        ['In the targets up to cluster time', clusterInstant(its.position)],
        ['Events applied', count(its.events)],
        ['Documents written', count(its.documents)],
        ['Versions that a newer one had overtaken', count(its.stale)],
        ['Events on their way', count(its.pendingEvents)],
        ['Documents to be read again', count(its.redo)],
        ['Lanes', count(its.lanes)],
        ['Lag, median of the last day', duration(its.lag.p50Ms)],
        ['Lag, 99th percentile', duration(its.lag.p99Ms)],
        ['Lag, longest', duration(its.lag.mostMs)],
      ],
      '',
    )}
    <h3>Gaps</h3>
    ${table(
      ['kind', 'collection', 'what is not known', 'opened', 'closed'],
      its.gaps.map((gap) => [
        gap.kind,
        gap.collection ?? 'all',
        gap.detail,
        when(gap.openedAt),
        gap.closedAt === null ? word('open') : when(gap.closedAt),
      ]),
      'There was none.',
    )}`;
}

function reverse({ reverse: its }: Report): Markup {
  if (!its)
    return html`<p class="none">
      No way back is anchored: it is when writes move to the new system, and until they have moved back.
    </p>`;
  return html`${table(
      ['figure', n('value')],
      [
        ['Documents written back to the old system', number(its.documents)],
        ['Looked at and found equal', number(its.unchanged)],
        ['Changes that wait', number(its.waiting)],
        ['Age of the oldest that waits', duration(its.waiting === 0 ? null : its.lagMs)],
        ['Conflicts', number(its.conflicts)],
        ['Late writes to the old system', number(its.lateWrites)],
        ['Documents the old system has no form for', number(its.unsaid)],
        ['Old collections closed to other writers', its.closed.length === 0 ? 'none' : its.closed.join(', ')],
      ],
      '',
    )}
    <h3>Conflicts, by the side that was kept</h3>
    ${kinds(its.conflictsBy, 'None.')}
    <h3>Late writes</h3>
    ${kinds(its.lateBy, 'None.')}
    <h3>What only the new system can say</h3>
    ${kinds(its.unsaidBy, 'Nothing.')}`;
}
