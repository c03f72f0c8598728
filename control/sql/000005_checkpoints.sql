-- Checkpoints of all stores at one cut, and the mark that a restore is under way.

-- Where each snapshot lies. Not restored with one: it tells what there is, not what was.
create table migration_control.snapshots (
  name text primary key,
  created_at timestamptz not null,
  host text not null,
  folder text not null,
  manifest_sha256 text not null,
  records bigint not null,
  bytes bigint not null,
  barrier_ms double precision not null
);
comment on column migration_control.snapshots.host is 'task queue of the host that wrote it';
comment on column migration_control.snapshots.barrier_ms is 'how long writers were kept waiting for the cut';

-- The restore that has begun and not ended: until it has, nobody writes to the targets.
create table migration_control.restores (
  one boolean primary key default true check (one),
  checkpoint text not null,
  manifest_sha256 text not null,
  started_at timestamptz not null default clock_timestamp()
);

-- Every transaction that writes to more than one store calls this before it does. A checkpoint waits for those inside and keeps others
-- out for the moment of its cut; a restore keeps them out until it is over. Each statement here sees what was committed before it.
create function migration_control.enter_stores() returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(hashtext('causeway stores'));
  if exists (select 1 from migration_control.restores) then
    raise exception 'a restore is under way; `causeway checkpoint restore` finishes it' using errcode = 'lock_not_available';
  end if;
end $$;
