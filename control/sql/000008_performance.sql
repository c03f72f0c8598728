-- Results of the performance regression tests, and validations that were asked for some checks only.

alter table migration_control.validation_results drop constraint validation_results_overall_status_check;
alter table migration_control.validation_results
  add constraint validation_results_overall_status_check check (overall_status in ('passed', 'failed', 'partial'));
comment on column migration_control.validation_results.overall_status is 'partial: the checks asked for passed, and not all were asked for';

create table migration_control.performance_results (
  id bigint generated always as identity primary key,
  overall_status text not null check (overall_status in ('passed', 'failed')),
  against_old text not null check (against_old in ('no_slower', 'slower', 'unknown')),
  benchmarks jsonb not null,
  results jsonb not null,
  regressions jsonb not null,
  plans jsonb not null,
  settings jsonb not null,
  "timestamp" timestamptz not null default clock_timestamp(),
  took_ms double precision not null
);
comment on table migration_control.performance_results is 'one row per run of the regression tests; cutover gates read the newest';
comment on column migration_control.performance_results.against_old is 'whether queries are slower than the old system answered them in the same run, beyond the tolerance';
comment on column migration_control.performance_results.benchmarks is 'per benchmark of the strategy: baseline, threshold, measured, unit, status, what was measured';
comment on column migration_control.performance_results.regressions is 'which query regressed, and why: missing index, lock, slow';
comment on column migration_control.performance_results.plans is 'plans of the slow queries, values taken out';
