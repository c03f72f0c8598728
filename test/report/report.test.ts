// The report from what was read, without a server: complete and empty parts, hostile texts, what must not be told, and markup that is well formed.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { begin, statusOf, type Status } from '../../core/state.ts';
import { barChart, timeChart } from '../../report/charts.ts';
import { count, duration } from '../../report/figures.ts';
import { htmlOf } from '../../report/html.ts';
import { detailsOf, plain } from '../../report/plain.ts';
import { buildReport, type Heard } from '../../report/report.ts';
import { reportSchema } from '../../report/shape.ts';
import { empty, everywhere, second } from '../support/collected.ts';

const now = second(61);
const completed: Status = { ...statusOf(begin('default')), state: 'completed', phase: 'cutover', stage: 4 };
const silent: Heard = { silent: 'Temporal at db.example.org:7233 cannot be reached' };

/** Elements that are opened are closed, in order; attributes are quoted. Stricter than HTML, as our markup is. */
function wellFormed(page: string): string[] {
  const open: string[] = [];
  const names: string[] = [];
  const body = page.replace(/<style>[\s\S]*?<\/style>/, '').replace('<!doctype html>', '');
  const rest = body.replace(
    /<(\/?)([a-z0-9]+)((?:\s+[a-zA-Z0-9-]+="[^"<]*")*)\s*>/g,
    (_, end: string, name: string) => {
      names.push(name);
      if (end) expect(open.pop()).toBe(name);
      else if (!['meta', 'link'].includes(name)) open.push(name);
      return '';
    },
  );
  expect(rest).not.toMatch(/[<>]/);
  expect(open).toEqual([]);
  return names;
}

describe('a report', () => {
  test('of nothing has every part, and says that there is nothing', () => {
    const report = buildReport(empty, silent, now);
    expect(reportSchema.parse(report)).toEqual(report);
    expect(report.summary.verdict).toBe('open');
    const page = htmlOf(report);
    wellFormed(page);
    for (const text of [
      'Nothing has been copied',
      'No validation has run yet',
      'Nothing was quarantined',
      'Nothing has been decided yet',
      'No way back is anchored',
    ])
      expect(page).toContain(text);
    expect(page).not.toContain('<svg');
    expect(page).not.toMatch(/NaN|undefined|null|Infinity/);
  });

  test('of everything has it all, in figures that add up', () => {
    const report = buildReport(everywhere('a reason'), { status: completed }, now);
    expect(reportSchema.parse(report)).toEqual(report);
    expect(report.collections).toEqual([
      expect.objectContaining({
        source: 100,
        now: { loaded: 95, quarantined: 4, skipped: 1 },
        copy: expect.objectContaining({ documents: 100, seconds: 10 }) as unknown,
        route: { percentage: 100, writes: 'new_system', epoch: 5 },
      }),
    ]);
    expect(report.series.copy[0]!.points.map((point) => point.documents)).toEqual([0, 60, 100]);
    expect(report.series.routes[0]!.points.map(({ percentage, writes }) => [percentage, writes])).toEqual([
      [0, 'dual_write'],
      [50, 'dual_write'],
      [100, 'new_system'],
    ]);
    expect(report.evidence.stages[0]).toMatchObject({ source: 'traffic', old: { reads: 200, meanMs: 8 } });
    expect(report.evidence.notable[0]!.reasons[0]).toContain('change capture is 31000 ms behind');
    expect(report.capture).toMatchObject({ position: '1767323099.7', lag: { p50Ms: 12 } });
    expect(report.summary.verdict).toBe('bad');
    expect(report.summary.points.find((one) => one.label === 'Pause of writes')?.value).toContain('412 ms');
    const page = htmlOf(report);
    expect(wellFormed(page).filter((name) => name === 'svg')).toHaveLength(14);
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
    expect(page).toContain('1\u202f234\u202f567');
  });

  test('of a completed migration in order is good, and nothing is open', () => {
    const [validation] = everywhere('x').validations;
    const passed = { ...validation!, overall_status: 'passed' };
    const report = buildReport(
      {
        ...empty,
        enrolled: ['token_usage'],
        counts: [{ collection: 'token_usage', loaded: 95, quarantined: 0, skipped: 5 }],
        validations: [passed],
        accountings: [passed],
      },
      { status: completed },
      now,
    );
    expect([report.summary.verdict, report.summary.open]).toEqual(['good', []]);
  });

  test('with a verification that compared nothing says so, and does not call it good', () => {
    const run = { id: '1', scope: 'all', state: 'finished', started_at: second(1), finished_at: second(2) };
    const result = { asOf: '1.1', equal: 0, different: 0, open: 0, oldestOpenSeconds: 0 };
    const verifications = [
      { run: JSON.parse(JSON.stringify({ ...run, result })) as Record<string, unknown>, findings: [] },
    ];
    const { summary } = buildReport({ ...everywhere('x'), verifications }, { status: completed }, now);
    expect(summary.points.find((one) => one.label === 'Every row')).toMatchObject({
      value: expect.stringContaining('nothing was compared') as string,
      verdict: 'open',
    });
  });

  test('that the ledger was too large for says so, and takes the accounting', () => {
    const report = buildReport(
      {
        ...everywhere('x'),
        counts: undefined,
        notes: ['Counting the ledger took longer than 120 s and was given up.'],
      },
      { status: completed },
      now,
    );
    expect(report.collections[0]!.now).toBeNull();
    expect(report.summary.headline).toContain('95 documents');
    expect(htmlOf(report)).toContain('was given up');
  });
});

const hostile = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '</style></title></svg><iframe src="https://evil.example">',
  '&lt;script&gt;',
  '\u0000\u0007\ud800',
  ']]><!--',
  '{{constructor}} ${1} $& $1',
];

test.each(hostile)('a collection, rule or reason of %j is text and nothing else', (text) => {
  const report = buildReport(everywhere(text, text), { status: { ...completed, waitingFor: text } }, now);
  const page = htmlOf(reportSchema.parse(report));
  const ordinary = htmlOf(buildReport(everywhere('x', 'y'), { status: { ...completed, waitingFor: 'x' } }, now));
  expect(wellFormed(page)).toEqual(wellFormed(ordinary));
});

test('any text is text and nothing else', () => {
  const ordinary = wellFormed(htmlOf(buildReport(everywhere('x', 'y'), { status: completed }, now)));
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), fc.string({ minLength: 1 }), (text, collection) => {
      // A comma, a colon or a number changes what is shown, not what it is.
      const names = wellFormed(htmlOf(buildReport(everywhere(text, collection), { status: completed }, now)));
      expect(new Set(names)).toEqual(new Set(ordinary));
    }),
    { numRuns: 25 },
  );
});

describe('what must not be told', () => {
  const secrets = [
    'mongodb://admin:hunter2@10.1.2.3:27017/tradingagents',
    'postgresql://u:p@db.internal/x',
    'connect ECONNREFUSED db.internal',
    '10.1.2.3:5432',
    'localhost:7233',
    'pg-1.internal.example:5432',
    '[::1]:6379',
    'wang.wei@example.org',
    '64b7f1c2d3e4f5a6b7c8d9e0',
    '0b6e2f0c-1111-4222-8333-444455556666',
  ];

  test.each(secrets)('%s is not in the report', (secret) => {
    const text = `while reading ${secret} it broke at 2026-01-02T03:04:05.678Z`;
    expect(plain(text)).toContain('it broke at 2026-01-02T03:04:05.678Z');
    const status = {
      ...completed,
      lastError: { phase: 'data', type: 'StoreUnreachable', message: text, advice: text },
    };
    const report = buildReport({ ...empty, decisions: everywhere(text).decisions }, { status }, now);
    const told = JSON.stringify({
      ...report,
      decisions: report.decisions.map((one) => ({ ...one, severity: '', stage: '' })),
    });
    for (const part of secret.split(/\s/).filter((one) => one.includes('.') || one.length > 12))
      expect(told).not.toContain(part);
    expect(told).not.toContain('hunter2');
  });

  test('the workflow that is not reached is named without its address', () => {
    const { note } = buildReport(empty, silent, now).workflow;
    expect(note).toBe('Temporal at [address] cannot be reached');
  });

  test('check results give figures and names, never values, ids or examples', () => {
    const found = detailsOf({
      total: 12,
      rate: 0.123456789,
      fine: true,
      rule: 'cost_not_negative',
      value: 'a secret',
      examples: ['64b7f1c2d3e4f5a6b7c8d9e0'],
      targets: [{ target: 'api_usage', missing: 1, extra: 0 }],
      sample_details: [{ record_id: '64b7', status: 'different', differs: ['cost', 'at'], old: 'a secret' }],
      nested: { violations: 3, document: 'a secret' },
    });
    expect(found).toEqual([
      { name: 'total', value: '12' },
      { name: 'rate', value: '0.123457' },
      { name: 'fine', value: 'yes' },
      { name: 'rule', value: 'cost_not_negative' },
      { name: 'examples', value: '1, not shown' },
      { name: 'targets: api_usage', value: 'missing 1; extra 0' },
      { name: 'sample_details: 1', value: 'status different; differs cost, at' },
      { name: 'nested.violations', value: '3' },
    ]);
  });

  test('where snapshots lie is not in it', () => {
    const told = htmlOf(buildReport(everywhere('x'), { status: completed }, now));
    expect(told).not.toMatch(/host-of-the-snapshot|folder\/of/);
  });
});

describe('charts', () => {
  test('of any numbers stay inside their picture', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            at: fc
              .date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true })
              .map((at) => at.toISOString()),
            value: fc.option(fc.double({ min: 0, max: 1e15, noNaN: true })),
          }),
          { maxLength: 30 },
        ),
        (unsorted) => {
          const points = [...unsorted].sort((a, b) => (a.at < b.at ? -1 : 1));
          const svg = timeChart({
            title: 't',
            measure: 'm',
            lines: [{ name: 'n', points }],
            format: count,
            none: 'none',
          }).text;
          if (points.every((point) => point.value === null)) {
            expect(svg).toContain('none');
            return;
          }
          for (const [, x, y] of svg.matchAll(/cx="([^"]*)"\s+cy="([^"]*)"/g)) {
            expect(Number(x)).toBeGreaterThanOrEqual(0);
            expect(Number(x)).toBeLessThanOrEqual(600);
            expect(Number(y)).toBeGreaterThanOrEqual(11);
            expect(Number(y)).toBeLessThanOrEqual(223);
          }
          expect(svg).not.toMatch(/NaN|Infinity/);
        },
      ),
    );
  });

  test('of bars draw each part as long as it is', () => {
    const svg = barChart({
      title: 't',
      measure: 'm',
      bars: [
        {
          name: 'a',
          parts: [
            { kind: 'x', value: 30 },
            { kind: 'y', value: 10 },
          ],
        },
      ],
      format: count,
      none: 'none',
    }).text;
    const widths = [...svg.matchAll(/<rect\s[^>]*\swidth="([^"]*)"/g)].map((found) => Number(found[1]));
    expect(widths[0]! / widths[1]!).toBeCloseTo(3, 1);
  });
});

test('figures have groups of three and units', () => {
  expect([count(0), count(999), count(1234567), count(1234.5)]).toEqual([
    '0',
    '999',
    '1\u202f234\u202f567',
    '1\u202f234.50',
  ]);
  expect([duration(null), duration(0.1234), duration(412), duration(61_000), duration(7_380_000)]).toEqual([
    '–',
    '0.12 ms',
    '412 ms',
    '61.0 s',
    '2 h 3 min',
  ]);
});

test('the page has no script', () => {
  const page = htmlOf(buildReport(everywhere('x'), { status: completed }, now));
  expect(page).not.toMatch(/<script|javascript:|https?:|@import|url\(/i);
  expect(page).toContain('default-src &#39;none&#39;');
});
