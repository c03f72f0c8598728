-- What the scan of a repair has met. A table of the schema and not one of a session: behind a pooler, session state may be another's.

create unlogged table migration_control.repair_seen (
  run uuid not null,
  collection_id smallint not null,
  source_id text collate "C" not null,
  primary key (run, source_id)
);
create index on migration_control.repair_seen (collection_id);
comment on table migration_control.repair_seen is 'keys that the scan of a repair has met; what deletes by them compares their number and digest first';
