-- Cutover of the writes and the way back: the fence, who has seen it, and what the new system changed since it became authoritative.

alter table migration_control.routing add column fenced_until timestamptz;
comment on column migration_control.routing.fenced_until is 'until then writers through the library wait; it passes by itself, so that a dead migration blocks nobody';

-- Routers that refresh, and for each the epochs that none of their writes under way is older than.
create table migration_control.routers (
  router uuid primary key,
  epochs jsonb not null,
  seen_at timestamptz not null default clock_timestamp()
);

-- Which documents the new system has changed. A key, no image: the document is rebuilt from the rows as they are committed.
-- Rows are taken out, not counted past: a transaction that commits late can not be missed.
create table migration_control.outbox (
  id bigint generated always as identity primary key,
  mapping text not null,
  source_id text collate "C" not null,
  origin text not null default 'postgres' check (origin in ('postgres', 'mongodb')),
  leftover boolean not null default false,
  at timestamptz not null default clock_timestamp()
);
comment on column migration_control.outbox.origin is 'a row of PostgreSQL is noted only for the application; the target MongoDB''s stream tells our own writes too';
comment on column migration_control.outbox.leftover is 'was not drained when writes moved back in an emergency; where both sides have changed the document since, the old one is kept';
create index on migration_control.outbox (mapping, source_id);

-- The reverse sync: one applier, and the position in the target MongoDB's change stream. Its row is the anchor.
create table migration_control.reverse_position (
  one boolean primary key default true check (one),
  epoch bigint not null default 0,
  holder text,
  reader_epoch bigint not null default 0,
  token jsonb,
  stream_version bigint not null default 0,
  leftover_version bigint not null default 0,
  settings jsonb not null,
  anchored_at timestamptz not null default clock_timestamp(),
  documents bigint not null default 0,
  unchanged bigint not null default 0,
  conflicts bigint not null default 0,
  updated_at timestamptz not null default clock_timestamp()
);

comment on column migration_control.reverse_position.leftover_version is 'writes moved back in an emergency before the target MongoDB was read so far: its changes up to here are leftovers';

-- Numbers the writes to the old system; taken under the applier's lock, so that they grow with the order of writing.
create sequence migration_control.reverse_version;

-- What a writer that the fence did not reach did to the old system while the new one was authoritative. Kept until the way back.
create table migration_control.late_writes (
  collection_id smallint not null,
  source_id text collate "C" not null,
  version bigint not null,
  op_index integer not null,
  deleted boolean not null,
  seen_at timestamptz not null default clock_timestamp(),
  primary key (collection_id, source_id)
);

-- A document that both systems had changed: one side was kept, the other is kept here (BSON; null: it had been deleted).
create table migration_control.reverse_conflicts (
  id bigint generated always as identity primary key,
  collection text not null,
  source_collection text not null,
  source_id text collate "C" not null,
  kept text not null check (kept in ('new', 'old')),
  document bytea,
  at timestamptz not null default clock_timestamp()
);

-- What the new system was given and no document of the old shape can say: it stays in the new system alone.
create table migration_control.reverse_unsaid (
  collection_id smallint not null,
  source_id text collate "C" not null,
  paths text not null,
  at timestamptz not null default clock_timestamp(),
  primary key (collection_id, source_id)
);

-- Source collections that are closed to writers without our bypass, and the validation they had before.
create table migration_control.closed_collections (
  collection text primary key,
  options jsonb not null,
  closed_at timestamptz not null default clock_timestamp()
);

-- An id for a document that is born in the new system: an ObjectId's 24 hex digits, seconds first.
create function migration_control.object_id() returns text language sql volatile as
$$ select lpad(to_hex(extract(epoch from clock_timestamp())::bigint), 8, '0') || substr(md5(gen_random_uuid()::text), 1, 16) $$;

-- Row by row, because statement triggers with transition tables do not exist on hypertables. Argument: the mapping.
create function migration_control.to_outbox() returns trigger language plpgsql security definer set search_path = '' as
$$
begin
  if current_setting('causeway.writer', true) = 'on' then return null; end if;
  if tg_op <> 'INSERT' then
    insert into migration_control.outbox (mapping, source_id) values (tg_argv[0], old.source_id);
  end if;
  if tg_op = 'INSERT' or (tg_op = 'UPDATE' and new.source_id is distinct from old.source_id) then
    insert into migration_control.outbox (mapping, source_id) values (tg_argv[0], new.source_id);
  end if;
  return null;
end
$$;

-- A child's document is its parent's. Arguments: the mapping, the parent table, the column that names the parent.
create function migration_control.child_to_outbox() returns trigger language plpgsql security definer set search_path = '' as
$$
begin
  if current_setting('causeway.writer', true) = 'on' then return null; end if;
  execute format(
    'insert into migration_control.outbox (mapping, source_id) select %L, source_id from %I.%I where id = any($1)',
    tg_argv[0], tg_table_schema, tg_argv[1]
  ) using array[
    case when tg_op <> 'INSERT' then (to_jsonb(old) ->> tg_argv[2])::bigint end,
    case when tg_op <> 'DELETE' then (to_jsonb(new) ->> tg_argv[2])::bigint end
  ];
  return null;
end
$$;

-- TRUNCATE names no rows: the old system would never hear of it.
create function migration_control.no_truncate() returns trigger language plpgsql as
$$
begin
  if current_setting('causeway.writer', true) = 'on' then return null; end if;
  raise exception 'TRUNCATE of % would not reach the old system: use DELETE', tg_table_name
    using hint = 'The migration keeps the old system equal until it is decommissioned.';
end
$$;

alter table migration_control.redo drop constraint redo_reason_check,
  add constraint redo_reason_check check (reason in ('clash', 'reference', 'lost key', 'late write'));
