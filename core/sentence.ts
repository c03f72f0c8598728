// A reason as a person reads it.
import type { Reason } from './decision.ts';
import type { Trigger } from './measure.ts';

type Form = (observed: string, threshold: string) => string;
const percent = (share: number): string => `${Number((share * 100).toFixed(2))} %`;
const times = (ratio: number): string => `${Number(ratio.toFixed(2))}`;
const plain = (value: number): string => `${Number(value.toFixed(2))}`;

const forms: Record<Trigger, { readonly number: (value: number) => string; readonly form: Form }> = {
  data_corruption: { number: plain, form: () => 'data corruption was reported' },
  complete_system_failure: { number: plain, form: () => 'a complete system failure was reported' },
  security_breach: { number: plain, form: () => 'a security breach was reported' },
  query_time_increase: {
    number: times,
    form: (observed, threshold) =>
      `queries take ${observed} times as long as on the old system (more than ${threshold})`,
  },
  throughput_decrease: {
    number: percent,
    form: (observed, threshold) => `${observed} of the expected reads are answered (less than ${threshold})`,
  },
  error_rate_increase: {
    number: percent,
    form: (observed, threshold) => `${observed} more reads fail than on the old system (more than ${threshold})`,
  },
  validation_failure_rate: {
    number: percent,
    form: (observed, threshold) => `${observed} of the compared documents differ (more than ${threshold})`,
  },
  missing_records: {
    number: plain,
    form: (observed, threshold) => `${observed} documents are missing (${threshold} or more)`,
  },
  corrupted_records: {
    number: plain,
    form: (observed, threshold) => `${observed} documents differ in the target (${threshold} or more)`,
  },
  capture_gap: { number: plain, form: () => 'change capture has an open gap' },
  capture_lag: {
    number: plain,
    form: (observed, threshold) => `change capture is ${observed} ms behind (more than ${threshold})`,
  },
  quarantine_share: {
    number: percent,
    form: (observed, threshold) => `${observed} of the documents are quarantined (more than ${threshold})`,
  },
  shadow_defects: {
    number: plain,
    form: (observed, threshold) => `${observed} shadow reads differ without a reason (${threshold} or more)`,
  },
};

export function sentenceOf(reason: Reason): string {
  const { number, form } = forms[reason.trigger];
  const text = (value: number | string) => (typeof value === 'number' ? number(value) : value);
  const place = [reason.collection, reason.source].filter((part) => part !== undefined).join(', ');
  const seen = reason.needed > 1 ? `, interval ${reason.seen} of ${reason.needed} in a row` : '';
  return `${place === '' ? '' : `${place}: `}${form(text(reason.observed), text(reason.threshold))}; ${reason.samples} samples in ${reason.window} s${seen}`;
}
