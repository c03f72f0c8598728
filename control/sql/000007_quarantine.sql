-- Quarantine as a place: fingerprints, attempts and how each case ended. Lineage: how each version came, and the versions before it.

alter table migration_control.migration_errors
  add column bson_type text,
  add column attempts integer not null default 0,
  add column tried_at timestamptz,
  add column resolution text check (resolution in ('loaded', 'skipped', 'deleted', 'replaced'));
comment on column migration_control.migration_errors.document is 'encrypted: {"encrypted": "v1", "key": key id, "data": base64}; without a key canonical Extended JSON, secrets redacted';
comment on column migration_control.migration_errors.bson_type is 'BSON type found at path; with rule and path the fingerprint of the error';
comment on column migration_control.migration_errors.attempts is 'how often `quarantine retry` has tried in vain';
comment on column migration_control.migration_errors.resolution is 'what became of it: loaded, skipped, deleted in the source, or replaced by a newer version set aside anew';
create index migration_errors_open on migration_control.migration_errors (id) where resolved_at is null;

-- Null for what the copy loaded: it writes no such column, and so pays nothing for it.
alter table migration_control.ledger add column origin "char";
comment on column migration_control.ledger.origin is 'how the version came: null copy, c change capture, w second write, a read again, g gap repair, q quarantine retry';

-- Versions that newer ones have replaced, written by the statement that replaces them. The oldest are forgotten (docs/decisions/0019).
create table migration_control.ledger_history (
  collection_id smallint not null,
  source_id text collate "C" not null,
  version bigint not null,
  op_index integer not null,
  deleted boolean not null,
  state "char" not null,
  rule text,
  mapping_version smallint not null,
  source_digest bigint not null,
  origin "char",
  superseded_at timestamptz not null default clock_timestamp()
);
create index on migration_control.ledger_history (collection_id, source_id);
create index on migration_control.ledger_history using brin (superseded_at);

-- What transforms may know besides the document, as it is in force for every writer; changed by `quarantine retry --config`.
create table migration_control.policy (
  one boolean primary key default true check (one),
  zone text not null,
  providers text[] not null,
  configuration_directory text not null,
  changed_at timestamptz not null default clock_timestamp()
);

-- Runs of `quarantine retry`: the position moves in the transaction of the documents before it, so that a run that was killed goes on.
create table migration_control.quarantine_retries (
  run_id text primary key,
  rule text,
  collection text,
  position bigint not null default 0,
  up_to bigint not null,
  counts jsonb not null default '{}',
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz
);
