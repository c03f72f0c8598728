-- Where the migration stands, written ahead by its root and by whoever undoes: a root that begins takes all of it over. What a workflow
-- remembers is a copy of this row.

create table migration_control.lifecycle (
  one boolean primary key default true check (one),
  phase text not null,
  stage integer not null default 0,
  override boolean not null default false,
  undo jsonb not null default '[]',
  undoing jsonb,
  completed boolean not null default false,
  until text not null,
  collections jsonb not null default '{}',
  settings jsonb not null,
  made_schema boolean not null,
  updated_at timestamptz not null default clock_timestamp()
);
comment on column migration_control.lifecycle.phase is 'the phase that runs or comes next; the last one that was asked for, where completed';
comment on column migration_control.lifecycle.stage is 'how many stages of the cutover have passed';
comment on column migration_control.lifecycle.override is 'an operator has moved the traffic since the stage began';
comment on column migration_control.lifecycle.undo is 'what has to be undone, oldest first; written down before the phase acts';
comment on column migration_control.lifecycle.undoing is 'the steps that are being undone, newest first, and how the migration ends then; null: it goes forward';
comment on column migration_control.lifecycle.completed is 'everything that was asked for is done, and no root has anything left to do';
comment on column migration_control.lifecycle.settings is 'those the migration was started with last';
comment on column migration_control.lifecycle.made_schema is 'the control schema was made by a preparation, so that undoing the preparation removes it';
