// The audit log as a report needs it: decisions, routing and the rest one by one, samples added up by stage and by slot of time.
import { slots } from './collect-series.ts';
import type { Reader } from './collect.ts';

export interface AuditRow {
  readonly at: Date;
  readonly action: string;
  readonly detail: Record<string, unknown>;
}

export interface StageRow {
  readonly stage: string;
  readonly samples: number;
  readonly first: Date;
  readonly last: Date;
  readonly continued: number;
  readonly held: number;
  readonly rolled: number;
}

export interface ComparedRow {
  readonly stage: string;
  readonly compared: number;
  readonly failed: number;
}

/** Reads of one side added up: of a stage, or of a slot of time. */
export interface SideRow {
  readonly source: 'traffic' | 'probes';
  readonly side: 'old' | 'new';
  readonly reads: number;
  readonly errors: number;
  readonly mean: number | null;
  /** The worst of the intervals' p95, ms. */
  readonly p95: number | null;
}

export interface DifferenceSlot {
  readonly at: Date;
  readonly differing: number;
  readonly missing: number;
  readonly corrupted: number;
  readonly defects: number;
}

export interface Audit {
  readonly decisions: readonly AuditRow[];
  /** Routes, fences and moved writes. */
  readonly moves: readonly AuditRow[];
  readonly others: readonly AuditRow[];
  readonly stages: readonly StageRow[];
  readonly compared: readonly ComparedRow[];
  readonly sides: readonly (SideRow & { readonly stage: string })[];
  readonly sideSlots: readonly (SideRow & { readonly at: Date })[];
  readonly differenceSlots: readonly DifferenceSlot[];
  /** Samples that did not say "continue", newest first. */
  readonly notable: readonly AuditRow[];
  /** Entries of a kind that were too many to be read, by kind. */
  readonly leftOut: Readonly<Record<string, number>>;
}

/** Entries of one kind that a report has room for; the newest are shown. */
const mostEntries = 1000;
const mostNotable = 50;
const moves = `('route', 'fence', 'writes moved')`;

export async function readAudit(reader: Reader): Promise<Audit> {
  const leftOut: Record<string, number> = {};
  const entries = async (kind: string, condition: string, most = mostEntries): Promise<AuditRow[]> => {
    const found = await reader.rows<AuditRow & { total: number }>(
      ['audit_log'],
      'reading the audit log',
      `select at, action, detail, count(*) over ()::float8 as total from migration_control.audit_log where ${condition} order by id desc limit ${most}`,
    );
    const more = (found[0]?.total ?? 0) - found.length;
    if (more > 0) leftOut[kind] = more;
    return found;
  };
  const newestLast = async (kind: string, condition: string) => (await entries(kind, condition)).reverse();
  const patient = async <T>(sql: string): Promise<T[]> =>
    (await reader.patient<T>(['audit_log'], 'Adding up the samples', sql)) ?? [];
  return {
    decisions: await newestLast('decisions', `action = 'decision'`),
    moves: await newestLast('changes of the routing', `action in ${moves}`),
    others: await newestLast('other events', `action not in ${moves} and action not in ('decision', 'sample')`),
    stages: await patient<StageRow>(
      `select coalesce(detail->>'stage', '') as stage, count(*)::float8 as samples, min(at) as first, max(at) as last,
         count(*) filter (where detail#>>'{decision,action}' = 'continue')::float8 as continued,
         count(*) filter (where detail#>>'{decision,action}' = 'hold')::float8 as held,
         count(*) filter (where detail#>>'{decision,action}' = 'rollback')::float8 as rolled
       from migration_control.audit_log where action = 'sample' group by 1 order by 3`,
    ),
    compared: await patient<ComparedRow>(
      `select coalesce(detail->>'stage', '') as stage, coalesce(sum((c.value#>>'{validation,checked}')::float8), 0) as compared,
         coalesce(sum((c.value#>>'{validation,failed}')::float8), 0) as failed
       from migration_control.audit_log, ${eachCollection} where action = 'sample' group by 1`,
    ),
    sides: await patient<SideRow & { stage: string }>(
      `select coalesce(detail->>'stage', '') as stage, ${sums} from migration_control.audit_log, ${eachCollection}, ${eachSide}
       where action = 'sample' group by 1, source, side`,
    ),
    sideSlots: await patient<SideRow & { at: Date }>(
      `with ${span} select max(at) as at, ${sums} from migration_control.audit_log, span, ${eachCollection}, ${eachSide}
       where action = 'sample' group by ${slot}, source, side order by 1`,
    ),
    differenceSlots: await patient<DifferenceSlot>(
      `with ${span}, one as (
         select at, ${slot} as slot, ${added('validation,failed')} as differing, ${added('validation,missing')} as missing,
           ${added('validation,corrupted')} as corrupted, ${added('shadow,defect')} as defects
         from migration_control.audit_log, span, ${eachCollection} where action = 'sample' group by id, at, 2)
       select max(at) as at, sum(differing) as differing, max(missing) as missing, max(corrupted) as corrupted, sum(defects) as defects
       from one group by slot order by 1`,
    ),
    notable: await entries(
      'samples that did not say "continue"',
      `action = 'sample' and detail#>>'{decision,action}' <> 'continue'`,
      mostNotable,
    ),
    leftOut,
  };
}

const eachCollection = `jsonb_each(coalesce(detail#>'{evidence,collections}', '{}')) c`;
const eachSide = `(values ('traffic', 'old'), ('traffic', 'new'), ('probes', 'old'), ('probes', 'new')) s(source, side)`;
const of = (field: string) => `(c.value#>>array[source, side, '${field}'])::float8`;
const sums = `source, side, coalesce(sum(${of('reads')}), 0) as reads, coalesce(sum(${of('errors')}), 0) as errors,
  sum(${of('meanMs')} * ${of('reads')}) / nullif(sum(${of('reads')}) filter (where ${of('meanMs')} is not null), 0) as mean, max(${of('p95Ms')}) as p95`;
const added = (path: string) => `coalesce(sum((c.value#>>'{${path}}')::float8), 0)`;
const span = `span as (select min(at) as a, greatest(extract(epoch from max(at) - min(at)) / ${slots}, 0.001) as w
  from migration_control.audit_log where action = 'sample')`;
const slot = `floor(extract(epoch from at - a) / w)`;
