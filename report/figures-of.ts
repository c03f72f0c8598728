// Which charts a report has.
import { barChart, timeChart, type Band } from './charts.ts';
import { count, duration } from './figures.ts';
import type { Markup } from './markup.ts';
import type { Report, Series } from './shape.ts';

/** Bars there is room for. */
const mostRules = 15;

export function figuresOf({ series, quarantine, collections, generatedAt }: Report): Markup[] {
  return [
    timeChart({
      title: 'Progress of the copy',
      measure: 'documents copied so far, per collection',
      lines: series.copy.map(({ collection, points }) => ({
        name: collection,
        points: points.map(({ at, documents }) => ({ at, value: documents })),
      })),
      format: count,
      none: 'Nothing has been copied.',
    }),
    timeChart({
      title: 'Traffic',
      measure: 'share of reads that go to the new system, and below who is written to',
      lines: series.routes.map(({ collections: names, points }) => ({
        name: together(names),
        points: untilNow(points, generatedAt).map(({ at, percentage }) => ({ at, value: percentage })),
      })),
      format: (value) => `${value} %`,
      steps: true,
      top: 100,
      bands: series.routes.map((one) => bandOf(one, generatedAt)),
      none: 'No traffic has been moved.',
    }),
    timeChart({
      title: 'Latency of reads',
      measure: `${series.latency[0]?.source === 'probes' ? "the migration's own probes" : "the application's reads"}: mean of each interval, ms, and the worst 95th percentile`,
      lines: [
        { name: 'old system', points: series.latency.map(({ at, oldMs }) => ({ at, value: oldMs })) },
        { name: 'new system', points: series.latency.map(({ at, newMs }) => ({ at, value: newMs })) },
        {
          name: 'old system, p95',
          bound: true,
          points: series.latency.map(({ at, oldP95Ms }) => ({ at, value: oldP95Ms })),
        },
        {
          name: 'new system, p95',
          bound: true,
          points: series.latency.map(({ at, newP95Ms }) => ({ at, value: newP95Ms })),
        },
      ],
      format: duration,
      none: 'No stage of the cutover has been watched.',
    }),
    timeChart({
      title: 'Lag of change capture',
      measure: "from a change's commit in the source to its commit in the target, ms",
      lines: [
        { name: 'lag, median', points: series.lag.map(({ at, p50Ms }) => ({ at, value: p50Ms })) },
        { name: 'lag, longest', bound: true, points: series.lag.map(({ at, mostMs }) => ({ at, value: mostMs })) },
      ],
      format: duration,
      none: 'No change has been captured in the last day.',
    }),
    timeChart({
      title: 'Differences found while watching',
      measure:
        'documents that random comparisons found to differ, documents known to be missing or wrong, shadow reads that differed without a reason',
      lines: [
        { name: 'differing', points: series.differences.map(({ at, differing }) => ({ at, value: differing })) },
        { name: 'missing', points: series.differences.map(({ at, missing }) => ({ at, value: missing })) },
        { name: 'wrong', points: series.differences.map(({ at, corrupted }) => ({ at, value: corrupted })) },
        {
          name: 'shadow reads',
          points: series.differences.map(({ at, shadowDefects }) => ({ at, value: shadowDefects })),
        },
      ],
      format: count,
      none: 'No stage of the cutover has been watched.',
    }),
    barChart({
      title: 'What became of the documents',
      measure: 'documents per collection, in the ledger now',
      bars: collections.flatMap(({ collection, now }) =>
        now
          ? {
              name: collection,
              parts: [
                { kind: 'loaded', value: now.loaded },
                { kind: 'quarantined', value: now.quarantined },
                { kind: 'skipped', value: now.skipped },
              ],
            }
          : [],
      ),
      format: count,
      none: 'The ledger is empty.',
    }),
    barChart({
      title: 'Quarantine by rule',
      measure: `findings per rule and place${quarantine.length > mostRules ? `; the ${mostRules} most frequent of ${quarantine.length}` : ''}`,
      bars: quarantine.slice(0, mostRules).map(({ collection, rule, path, open, resolved }) => ({
        name: `${collection} ${rule}${path === '' ? '' : ` (${path})`}`,
        parts: [
          { kind: 'open', value: open },
          { kind: 'resolved', value: resolved },
        ],
      })),
      format: count,
      none: 'Nothing was quarantined.',
    }),
  ];
}

type Route = Series['routes'][number];

/** The last state lasts until the report. */
function untilNow(points: Route['points'], now: string): Route['points'] {
  const last = points.at(-1);
  return last && last.at < now ? [...points, { ...last, at: now }] : points;
}

const bandOf = ({ collections, points }: Route, now: string): Band => ({
  name: together(collections),
  stretches: untilNow(points, now)
    .slice(0, -1)
    .map((point, i) => ({ from: point.at, to: untilNow(points, now)[i + 1]!.at, kind: point.writes })),
});

const together = (names: readonly string[]): string =>
  names.length <= 2 ? names.join(' and ') : `${names[0]} and ${names.length - 1} others`;
