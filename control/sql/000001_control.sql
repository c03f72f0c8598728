-- The migration's own tables. They live in the target database, so that their rows commit together with the data they describe.
-- One migration per target database: `migration` has one row.

create table migration_control.migration (
  name text primary key,
  created_at timestamptz not null default now()
);

-- Everything a phase made, written in the transaction (or before the command) that makes it; compensation removes exactly this.
create table migration_control.created_objects (
  id bigint generated always as identity primary key,
  phase text not null,
  store text not null,
  kind text not null,
  name text not null,
  created_at timestamptz not null default now(),
  unique (store, kind, name)
);

-- A source collection that feeds a mapping; an alias is a collection of its own here.
create table migration_control.collections (
  id smallint generated always as identity primary key,
  mapping text not null,
  source text not null,
  unique (mapping, source)
);

-- One row per source document: version guard, tombstone, accounting and lineage (docs/decisions/0003-ledger.md).
create table migration_control.ledger (
  collection_id smallint not null,
  source_id text collate "C" not null,
  version bigint not null,
  op_index integer not null,
  deleted boolean not null default false,
  state "char" not null check (state in ('l', 'q', 's')),
  rule text,
  mapping_version smallint not null,
  source_digest bigint not null,
  place timestamptz,
  primary key (collection_id, source_id)
) partition by list (collection_id);
comment on column migration_control.ledger.version is 'clusterTime of the newest write applied: seconds * 2^32 + increment';
comment on column migration_control.ledger.op_index is 'position inside that clusterTime; 2147483647 for copied documents, which hold all of it';
comment on column migration_control.ledger.state is 'l loaded, q quarantined, s skipped';
comment on column migration_control.ledger.source_digest is 'xxHash64 of the source document''s BSON';
comment on column migration_control.ledger.place is 'time column of the row in a table partitioned by time';

create view migration_control.accounting as
  select c.mapping as collection,
         l.source_id,
         case l.state when 'l' then 'loaded' when 'q' then 'quarantined' else 'skipped' end as state
  from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id
  where not l.deleted;

-- The chunk plan of a collection: ranges that tile all of its key space. null is before the first or after the last key.
create table migration_control.chunks (
  collection_id smallint not null references migration_control.collections on delete cascade,
  chunk integer not null,
  lower_id text,
  upper_id text,
  primary key (collection_id, chunk)
);

-- One row per loaded segment, committed with the rows it describes. A chunk's position is the end of its unbroken chain of batches.
create table migration_control.migration_batches (
  batch_id text primary key,
  collection text not null,
  collection_id smallint not null,
  chunk integer not null,
  segment integer not null,
  after_id text,
  last_id text,
  ends_chunk boolean not null,
  status text not null check (status in ('loaded', 'verified')),
  documents bigint not null,
  loaded bigint not null,
  quarantined bigint not null,
  skipped bigint not null,
  stale bigint not null default 0,
  bytes bigint not null,
  version bigint not null,
  started_at timestamptz not null,
  finished_at timestamptz not null default clock_timestamp(),
  attempt integer not null,
  run_id text not null
);
create index on migration_control.migration_batches (collection_id, chunk, segment);
comment on table migration_control.migration_batches is 'batch checkpoints: the copy resumes after the last batch of each chunk';

create table migration_control.migration_errors (
  id bigint generated always as identity primary key,
  collection text not null,
  source_collection text not null,
  source_id text collate "C" not null,
  rule text not null,
  path text not null,
  message text not null,
  document jsonb not null,
  mapping_version smallint not null,
  created_at timestamptz not null default now(),
  resolved_at timestamptz
);
create index on migration_control.migration_errors (collection, source_id);
create index on migration_control.migration_errors (collection, rule) where resolved_at is null;

-- Documents that lost a unique key to another document of the source, settled before the copy (docs/decisions/0006-unique-keys.md).
create table migration_control.elections (
  collection_id smallint not null references migration_control.collections on delete cascade,
  source_id text collate "C" not null,
  rule text not null,
  path text not null,
  primary key (collection_id, source_id)
);

create table migration_control.validation_results (
  id bigint generated always as identity primary key,
  batch_id text not null,
  collection text not null,
  overall_status text not null check (overall_status in ('passed', 'failed')),
  individual_results jsonb not null,
  "timestamp" timestamptz not null default now()
);

create table migration_control.rollback_checkpoints (
  name text primary key,
  phase text not null,
  state jsonb not null,
  created_at timestamptz not null default now()
);

-- Where reads and writes of each collection go. Every change raises the epoch.
create table migration_control.routing (
  collection text primary key,
  percentage integer not null check (percentage between 0 and 100),
  write_mode text not null check (write_mode in ('old', 'dual_write', 'new_system')),
  epoch bigint not null,
  updated_at timestamptz not null default now()
);

create table migration_control.audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  action text not null,
  detail jsonb not null
);
