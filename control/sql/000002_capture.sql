-- Change capture: where the stream stands, changes read and not yet applied, and documents to be read once more.

alter table migration_control.ledger add column keys text[];
comment on column migration_control.ledger.keys is 'Redis keys that hold the document now; a newer version removes those it does not need';

-- The one change stream. Its token is written in the transaction that keeps the changes before it, so it is never ahead of them.
create table migration_control.capture_stream (
  one boolean primary key default true check (one),
  epoch bigint not null default 0,
  holder text,
  token jsonb not null,
  opened_version bigint not null,
  version bigint not null,
  last_version bigint not null,
  last_op_index integer not null,
  lanes smallint not null,
  images text not null,
  next_segment bigint not null default 1,
  seen_at timestamptz,
  updated_at timestamptz not null default now()
);
comment on column migration_control.capture_stream.version is 'cluster time up to which every change has been read';
comment on column migration_control.capture_stream.last_op_index is 'position of the last change among those of its cluster time, kept so that a resumed stream counts on';
comment on column migration_control.capture_stream.seen_at is 'the source''s clock when the reader last stood at the end of the stream';

-- A lane applies the changes of its share of the keys, in order. Its position moves in the transaction of the rows it covers.
create table migration_control.capture_position (
  lane smallint primary key,
  epoch bigint not null default 0,
  holder text,
  version bigint not null,
  segment bigint not null default 0,
  events bigint not null default 0,
  documents bigint not null default 0,
  stale bigint not null default 0,
  updated_at timestamptz not null default now()
);

-- Changes on their way: one row per batch of the stream and lane, removed in the transaction that applies it.
create table migration_control.captured (
  lane smallint not null,
  segment bigint not null,
  first_version bigint not null,
  last_version bigint not null,
  events integer not null,
  first_wall timestamptz not null,
  last_wall timestamptz not null,
  content bytea not null,
  primary key (lane, segment)
);

-- How long changes took from the source's commit to the target's, per batch; pruned after a day.
create table migration_control.capture_lag (
  at timestamptz not null default clock_timestamp(),
  lane smallint not null,
  events integer not null,
  lag_ms bigint not null
);
create index on migration_control.capture_lag (at);

-- Worker processes that take lanes, so that each takes its share; `holder` is the task queue that only this process serves.
create table migration_control.capture_workers (
  holder text primary key,
  seen_at timestamptz not null
);

-- What the stream could not tell: while one is open, nothing is cut over.
create table migration_control.capture_gaps (
  id bigint generated always as identity primary key,
  kind text not null,
  collection text,
  detail text not null,
  from_version bigint not null,
  opened_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz,
  certificate jsonb
);
create unique index capture_gaps_open on migration_control.capture_gaps ((true)) where closed_at is null;

-- Documents to be read from the source again: a unique key was taken, or a row they refer to came or went.
create table migration_control.redo (
  collection_id smallint not null,
  source_id text collate "C" not null,
  reason text not null check (reason in ('clash', 'reference', 'lost key')),
  since timestamptz not null default clock_timestamp(),
  due_at timestamptz not null default clock_timestamp(),
  tries integer not null default 0,
  primary key (collection_id, source_id)
);
create index on migration_control.redo (due_at);

-- References that found no row. When one comes, the document is read again.
create table migration_control.unresolved (
  collection_id smallint not null,
  source_id text collate "C" not null,
  parent text not null,
  parent_column text not null,
  key text not null,
  primary key (collection_id, source_id, parent, parent_column, key)
);
create index on migration_control.unresolved (parent, parent_column, key);

-- Collections of which configuration files have to be written again.
create table migration_control.stale_files (
  collection text primary key
);
