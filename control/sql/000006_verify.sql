-- Every-row verification: how far each run has come, and the keys that were not equal when last looked at.

create table migration_control.verification_runs (
  id bigint generated always as identity primary key,
  scope text not null,
  state text not null check (state in ('running', 'finished', 'abandoned')),
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  from_version bigint not null,
  settled_version bigint not null,
  generation integer not null default 0,
  judged bigint not null default 0,
  as_of bigint,
  result jsonb
);
create unique index verification_runs_running on migration_control.verification_runs (scope) where state = 'running';
comment on column migration_control.verification_runs.settled_version is 'cluster time: every key changed before it has been looked at since its change, or stands in verification_keys';

-- A run is a list of scans; each goes through one store in pieces, and a piece counts in the transaction that moves the position.
create table migration_control.verification_scans (
  run_id bigint not null references migration_control.verification_runs on delete cascade,
  scan integer not null,
  kind text not null check (kind in ('documents', 'ledger', 'rows', 'copies', 'keys', 'files')),
  mapping text not null,
  source text,
  collection_id smallint,
  target text,
  position text,
  done boolean not null default false,
  pieces integer not null default 0,
  compared bigint not null default 0,
  total bigint not null,
  evicted bigint not null default 0,
  started_at timestamptz,
  updated_at timestamptz,
  primary key (run_id, scan)
);
comment on column migration_control.verification_scans.position is 'last key of the last piece, in the order of the store that is scanned';

-- Suspects are looked at again until they are equal or proven different; what remains at the end of a run is its finding.
create table migration_control.verification_keys (
  run_id bigint not null references migration_control.verification_runs on delete cascade,
  kind text not null check (kind in ('document', 'key', 'file')),
  collection_id smallint not null,
  mapping text not null,
  id text collate "C" not null,
  state text not null default 'suspect' check (state in ('suspect', 'different', 'repaired')),
  first_mismatch_at timestamptz,
  judged integer not null default 0,
  generation integer not null default 0,
  finding text check (finding in ('missing', 'extra', 'different', 'stale')),
  differs text[],
  repaired_at timestamptz,
  primary key (run_id, kind, collection_id, id)
);
create index on migration_control.verification_keys (run_id, state, generation);
comment on column migration_control.verification_keys.judged is 'how often it was found different with capture past the read';
comment on column migration_control.verification_keys.differs is 'columns, fields and paths that differ; never their values';
