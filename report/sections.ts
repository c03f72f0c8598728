// The tables of a report, in the order in which an auditor asks.
import { bytes, clusterInstant, count, duration, percent } from './figures.ts';
import { kinds, list, n, number, when, word, type Section } from './cells.ts';
import { html, table, type Markup } from './markup.ts';
import { cutoverSections } from './sections-cutover.ts';
import type { Report } from './shape.ts';

export const sectionsOf = (report: Report): Section[] => [
  { id: 'collections', title: 'Collections', body: collections(report) },
  { id: 'validation', title: 'Validation', body: validation(report) },
  { id: 'every-row', title: 'Every-row verification', body: everyRow(report) },
  { id: 'quarantine', title: 'Quarantine', body: quarantine(report) },
  ...cutoverSections(report),
  { id: 'performance', title: 'Performance', body: performance(report) },
  { id: 'checkpoints', title: 'Checkpoints', body: checkpoints(report) },
  { id: 'log', title: 'Other events', body: events(report) },
];

const collections = ({ collections: rows }: Report): Markup =>
  html` <h3>Accounting by key</h3>
    <p class="soft">
      source = loaded + quarantined + skipped, key by key, at the newest validation of each collection.
    </p>
    ${table(
      [
        'collection',
        n('source'),
        n('loaded'),
        n('quarantined'),
        n('skipped'),
        n('missing'),
        n('extra'),
        'result',
        'at',
      ],
      rows.flatMap(({ collection, accounted: one }) =>
        one
          ? [
              [
                collection,
                count(one.source),
                count(one.loaded),
                count(one.quarantined),
                count(one.skipped),
                count(one.missing),
                count(one.extra),
                word(one.status),
                when(one.at),
              ],
            ]
          : [],
      ),
      'No accounting has been made yet.',
    )}
    <h3>The ledger now, and the copy</h3>
    <p class="soft">
      Documents = loaded + quarantined + skipped in the ledger, when this page was made; it moves on with every change
      that is captured, and the copy's figures stay.
    </p>
    ${table(
      [
        'collection',
        n('documents'),
        n('loaded'),
        n('quarantined'),
        n('skipped'),
        n('copied'),
        n('size'),
        n('batches'),
        n('duration'),
        n('documents/s'),
        'from',
        'to',
      ],
      rows.map(({ collection, now, copy }) => [
        collection,
        number(now && now.loaded + now.quarantined + now.skipped),
        number(now?.loaded ?? null),
        number(now?.quarantined ?? null),
        number(now?.skipped ?? null),
        number(copy?.documents ?? null),
        copy && bytes(copy.bytes),
        number(copy?.batches ?? null),
        copy && duration(copy.seconds * 1000),
        copy && copy.seconds > 0 ? count(Math.round(copy.documents / copy.seconds)) : null,
        when(copy?.from ?? null),
        when(copy?.to ?? null),
      ]),
      'No collection is known yet.',
    )}`;

const validation = ({ validation: rows }: Report): Markup =>
  table(
    ['collection', 'result', 'check', 'status', 'details', 'at', n('runs')],
    rows.flatMap((one) =>
      one.checks.map((check, i) => [
        i === 0 ? one.collection : '',
        i === 0 ? word(one.status) : '',
        check.check.replaceAll('_', ' '),
        word(check.status),
        html`${check.error !== null && html`<div>${check.error}</div>`}${list(check.details)}`,
        i === 0 ? when(one.at) : '',
        i === 0 ? count(one.runs) : '',
      ]),
    ),
    'No validation has run yet.',
  );

const everyRow = ({ verification, divergences }: Report): Markup =>
  html` ${table(
      ['run', 'state', 'as of cluster time', n('equal'), n('different'), n('open'), 'figures', 'from', 'to'],
      verification.map((one) => [
        one.run,
        word(one.state),
        one.asOf === null ? null : clusterInstant(one.asOf),
        number(one.equal),
        number(one.different),
        number(one.open),
        list(one.details),
        when(one.startedAt),
        when(one.finishedAt),
      ]),
      'Not every row was verified: no run of `causeway verify` is recorded.',
    )}
    ${
      verification.some((one) => one.findings.length > 0) &&
      html`<h3>Findings</h3>
        ${table(
          ['run', 'collection', 'finding', n('keys')],
          verification.flatMap((one) =>
            one.findings.map((its) => [one.run, its.collection, its.kind, count(its.documents)]),
          ),
          '',
        )}`
    }
    <h3>Documents known to differ now</h3>
    ${kinds(divergences, 'None: the rolling comparison knows of no document that is missing or differs.')}`;

const quarantine = ({ quarantine: rows }: Report): Markup =>
  table(
    ['collection', 'rule', 'path', n('open'), n('resolved')],
    rows.map((one) => [one.collection, one.rule, one.path || 'the document', count(one.open), count(one.resolved)]),
    'Nothing was quarantined.',
  );

function performance({ performance: run, traffic }: Report): Markup {
  const tests = run
    ? html`<p>
          Tests ${word(run.status)} at ${when(run.at)}, in ${duration(run.tookMs)}; against the old system:
          ${run.againstOld.replaceAll('_', ' ')}.
        </p>
        ${table(
          ['benchmark', n('baseline'), n('threshold'), n('measured'), n('old system'), 'unit', 'result'],
          run.benchmarks.map((one) => [
            one.name.replaceAll('_', ' '),
            number(one.baseline),
            number(one.threshold),
            number(one.measured),
            number(one.old),
            one.unit,
            word(one.status),
          ]),
          'No benchmark was measured.',
        )}
        ${table(
          ['query', 'collection', n('old, p50'), n('new, p50'), n('may take'), 'result'],
          run.queries.map((one) => [
            one.query,
            one.collection,
            duration(one.oldP50Ms),
            duration(one.newP50Ms),
            duration(one.expectedMs),
            word(one.status),
          ]),
          'No query was measured.',
        )}
        ${table(
          ['regression', 'collection', 'why'],
          run.regressions.map((one) => [one.what, one.collection, one.why]),
          'No regression was found.',
        )}`
    : html`<p class="none">No performance test has been recorded.</p>`;
  return html`${tests}
    <h3>What routers reported in the last hour</h3>
    ${table(
      [
        'collection',
        'side',
        n('reads'),
        n('errors'),
        n('error share'),
        n('mean'),
        n('p50'),
        n('p95'),
        n('p99'),
        n('writes'),
        n('failed writes'),
      ],
      traffic.map((one) => [
        one.collection,
        one.side,
        count(one.reads),
        count(one.errors),
        one.reads > 0 ? percent(one.errors / one.reads) : null,
        duration(one.meanMs),
        duration(one.p50Ms),
        duration(one.p95Ms),
        duration(one.p99Ms),
        count(one.writes),
        count(one.writeErrors),
      ]),
      'No router has reported in the last hour.',
    )}`;
}

const checkpoints = ({ checkpoints: marks, snapshots }: Report): Markup =>
  html` ${table(
      ['checkpoint', 'phase', 'at'],
      marks.map((one) => [one.name, one.phase, when(one.at)]),
      'No checkpoint has been reached.',
    )}
    <h3>Snapshots of all stores</h3>
    ${table(
      ['checkpoint', n('records'), n('size'), n('writers waited'), 'SHA-256 of the manifest', 'at'],
      snapshots.map((one) => [
        one.name,
        count(one.records),
        bytes(one.bytes),
        duration(one.barrierMs),
        html`<code>${one.manifestSha256}</code>`,
        when(one.at),
      ]),
      'None was made.',
    )}`;

const events = ({ events: rows }: Report): Markup =>
  table(
    ['at', 'event', 'details'],
    rows.map((one) => [when(one.at), one.action, list(one.details)]),
    'Nothing else is in the audit log.',
  );
