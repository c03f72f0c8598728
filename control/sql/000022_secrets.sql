-- What the control schema holds of documents is encrypted; the key is not here, only which one it is (docs/decisions/0030-secrets-at-rest.md).

create table migration_control.sealing (
  one boolean primary key default true check (one),
  key text not null,
  host text not null,
  since timestamptz not null default clock_timestamp()
);
comment on column migration_control.sealing.key is 'id of the key that bounds and Redis keys are sealed with for as long as the migration lasts; the key itself is on the hosts';
comment on column migration_control.ledger.keys is 'Redis keys that hold the document now, encrypted; a newer version removes those it does not need';
comment on column migration_control.announced_keys.key is 'encrypted';
comment on column migration_control.captured.content is 'changes, encrypted';
comment on column migration_control.chunks.lower_id is 'encrypted';
comment on column migration_control.migration_batches.last_id is 'encrypted';
