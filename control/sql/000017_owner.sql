-- Whose database this is: the migration, the stores it was begun with, and the settings it was started with.

alter table migration_control.migration
  add column fingerprint text,
  add column stores jsonb,
  add column settings jsonb;
comment on column migration_control.migration.fingerprint is 'of the four stores when the migration claimed them; part of its task queues, so it stays when a store moves';
comment on column migration_control.migration.stores is 'what each store said it was, without addresses'' credentials; `causeway stores --accept` changes it';
comment on column migration_control.migration.settings is 'settings the migration was started with: defaults of what is started later';
