-- Keys that the copy sets before the ledger knows of them: an attempt that breaks off must not leave one that no document has.

create table migration_control.announced_keys (
  batch_id text not null,
  collection_id smallint not null,
  chunk integer not null,
  segment integer not null,
  source_id text collate "C" not null,
  key text not null,
  version bigint not null,
  at timestamptz not null default clock_timestamp(),
  primary key (batch_id, key, source_id)
);
comment on table migration_control.announced_keys is 'gone with the commit of their batch; those of a batch that another has taken the place of are removed, if their document has another key now';
