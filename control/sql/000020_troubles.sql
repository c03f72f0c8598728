-- What capture cannot do at the moment, so that whoever asks sees it: loops that fail, and documents that wait with the cause.

create table migration_control.capture_troubles (
  who text primary key,
  type text not null,
  message text not null,
  times integer not null default 1,
  since timestamptz not null default clock_timestamp(),
  at timestamptz not null default clock_timestamp()
);
comment on table migration_control.capture_troubles is 'lanes, readers and housekeeping that fail now; the row goes with the first success';

alter table migration_control.redo add column cause text;
comment on column migration_control.redo.cause is 'why the document could be neither applied nor set aside when it was last tried';
alter table migration_control.redo drop constraint redo_reason_check,
  add constraint redo_reason_check check (reason in ('clash', 'reference', 'lost key', 'late write', 'waits', 'set aside'));

-- Keys of documents that are too long for an index: everywhere else their digest stands for them.
create table migration_control.long_keys (
  source_id text collate "C" primary key,
  whole text not null
);
comment on table migration_control.long_keys is 'source_id: its length and digest, which is the key as text';
