-- A worker that cannot reach a store that others reach takes no work, and says so here.

alter table migration_control.capture_workers
  add column silent text[] not null default '{}',
  add column suspended text;
comment on column migration_control.capture_workers.silent is 'stores that the worker cannot reach: source, postgres, mongodb, redis';
comment on column migration_control.capture_workers.suspended is 'why the worker takes no work; null: it takes work';
