-- What decisions rest on: the application's traffic as its routers report it, documents known to differ, and how far checks have come.

-- One row per report (about a second) of a router, collection and side. Counts and latencies; nothing of documents or users.
create table migration_control.traffic_samples (
  router text not null,
  report bigint not null,
  collection text not null,
  side text not null check (side in ('old', 'new')),
  reads bigint not null default 0,
  errors bigint not null default 0,
  latency_ms double precision not null default 0,
  histogram jsonb not null default '{}',
  writes bigint not null default 0,
  write_errors bigint not null default 0,
  shadow jsonb not null default '{}',
  received_at timestamptz not null default clock_timestamp(),
  primary key (router, report, collection, side)
);
create index on migration_control.traffic_samples (received_at);
comment on column migration_control.traffic_samples.report is 'counts up per router: a report sent twice is counted once';
comment on column migration_control.traffic_samples.latency_ms is 'sum over the reads';
comment on column migration_control.traffic_samples.histogram is 'bucket -> reads; core/histogram.ts says which latencies a bucket holds';
comment on column migration_control.traffic_samples.shadow is 'shadow reads by class, and sums of the logarithms of latency ratios';

-- Documents found to be missing from a target or to differ there though nothing is under way; looked at again until they are well.
create table migration_control.divergences (
  collection_id smallint not null,
  source_id text collate "C" not null,
  kind text not null check (kind in ('missing', 'corrupted')),
  found_at timestamptz not null default clock_timestamp(),
  primary key (collection_id, source_id)
);

-- How far the rolling comparison of keys with rows has come in each source collection; it begins anew at the end.
create table migration_control.sweeps (
  collection_id smallint not null,
  target text not null,
  after_id text collate "C",
  keys integer not null,
  primary key (collection_id, target)
);
