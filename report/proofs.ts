// The every-row verification and the performance tests as a report shows them: read by name, and absent where a name is not there. Pure.
import type { VerificationRow } from './collect-proofs.ts';
import { detailsOf, plain } from './plain.ts';
import type { Report } from './shape.ts';

type Json = Record<string, unknown>;

export function verificationOf({ run, findings }: VerificationRow): Report['verification'][number] {
  const result = object(run['result']);
  return {
    run: `${text(run['id']) ?? ''}${run['scope'] === undefined ? '' : `, ${plain(text(run['scope']) ?? '')}`}`,
    state: text(run['state']) ?? 'unknown',
    startedAt: instant(run['started_at']),
    finishedAt: instant(run['finished_at']),
    asOf: text(result['asOf']) ?? null,
    equal: amount(result['equal']),
    different: amount(result['different']),
    open: amount(result['open']),
    oldestOpenSeconds: amount(result['oldestOpenSeconds']),
    details: detailsOf(result),
    findings: [...findings].map(({ collection, kind, documents }) => ({ collection, kind, documents })),
  };
}

export function performanceOf(run: Json): NonNullable<Report['performance']> {
  const queries = object(run['results'])['query_performance'];
  return {
    at: instant(run['timestamp']) ?? new Date(0).toISOString(),
    status: text(run['overall_status']) ?? 'unknown',
    againstOld: text(run['against_old']) ?? 'unknown',
    tookMs: amount(run['took_ms']) ?? 0,
    benchmarks: Object.entries(object(run['benchmarks'])).map(([name, value]) => {
      const its = object(value);
      return {
        name,
        baseline: number(its['baseline']),
        threshold: number(its['threshold']),
        measured: number(its['measured']),
        old: number(its['old']),
        unit: text(its['unit']) ?? '',
        status: text(its['status']) ?? 'unknown',
      };
    }),
    queries: list(queries).map((its) => ({
      query: text(its['query']) ?? '',
      collection: text(its['collection']) ?? '',
      status: text(its['status']) ?? 'unknown',
      oldP50Ms: amount(object(its['old'])['p50']),
      newP50Ms: amount(object(its['new'])['p50']),
      expectedMs: amount(its['expected_time_ms']),
    })),
    regressions: list(run['regressions']).map((its) => ({
      what: plain(text(its['what']) ?? ''),
      collection: text(its['collection']) ?? null,
      why: plain((Array.isArray(its['why']) ? its['why'] : []).map(String).join('; ')),
    })),
  };
}

const object = (value: unknown): Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
const list = (value: unknown): Json[] => (Array.isArray(value) ? value.map(object) : []);
const text = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : typeof value === 'number' ? String(value) : undefined;
const number = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);
const amount = (value: unknown): number | null => {
  const found = number(value);
  return found === null || found < 0 ? null : found;
};
function instant(value: unknown): string | null {
  const at = typeof value === 'string' ? new Date(value) : undefined;
  return at && !Number.isNaN(at.getTime()) ? at.toISOString() : null;
}
