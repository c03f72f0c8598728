-- Routes that cannot be misread: a fence is over only when the row says so, routers say how long they may believe what they have read, and what
-- relies on READ COMMITTED refuses anything else.

-- A row locked by a flip that has not committed yet is left alone: whoever waits at the fence asks again.
create function migration_control.lower_passed_fences() returns setof text language sql volatile security definer set search_path = '' as
$$
  with passed as (
    select collection from migration_control.routing where fenced_until <= clock_timestamp() for update skip locked
  )
  update migration_control.routing r set fenced_until = null, epoch = r.epoch + 1, updated_at = clock_timestamp()
  from passed where r.collection = passed.collection returning r.collection
$$;
comment on function migration_control.lower_passed_fences is 'ends fences whose time has passed; until a row has no fenced_until, no write to the old system may begin';
comment on column migration_control.routing.fenced_until is 'while it is set, writers through the library wait. Once its time has passed anybody may end it with lower_passed_fences(), so that a dead migration blocks nobody';

alter table migration_control.routers
  add column lease_ms integer not null default 5000,
  add column refresh_ms integer not null default 1000,
  add column write_ms integer not null default 30000,
  add column process text not null default '';
comment on column migration_control.routers.lease_ms is 'for so long after seen_at the router goes by what it has read';
comment on column migration_control.routers.write_ms is 'and so long may a write take that began just before';
comment on column migration_control.routers.process is 'host and process id, for whoever looks for a router that does not answer';

-- Whoever may read the routing may say so: a router that the mover does not know of would not be waited for.
create function migration_control.report_router(id uuid, its_epochs jsonb, its_lease_ms integer, its_refresh_ms integer, its_write_ms integer, its_process text)
returns void language sql volatile security definer set search_path = '' as
$$
  insert into migration_control.routers (router, epochs, lease_ms, refresh_ms, write_ms, process)
  values (id, its_epochs, its_lease_ms, its_refresh_ms, its_write_ms, its_process)
  on conflict (router) do update set epochs = excluded.epochs, lease_ms = excluded.lease_ms, refresh_ms = excluded.refresh_ms,
    write_ms = excluded.write_ms, process = excluded.process, seen_at = clock_timestamp()
$$;
create function migration_control.forget_router(id uuid) returns void language sql volatile security definer set search_path = '' as
$$ delete from migration_control.routers where router = id $$;

create or replace function migration_control.admit_write(wanted text, known_epoch bigint) returns boolean language plpgsql volatile as
$$
begin
  -- Any other isolation would show the routing as it was before the lock was waited for.
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'admit_write needs a READ COMMITTED transaction, this one is %', upper(current_setting('transaction_isolation'))
      using errcode = 'invalid_transaction_state', hint = 'Begin it with BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE.';
  end if;
  -- A transaction that idles holds the route, and with it whoever moves the writes. A shorter limit of the application's own stays.
  if current_setting('idle_in_transaction_session_timeout')::interval not between interval '1 ms' and interval '10 s' then
    perform set_config('idle_in_transaction_session_timeout', '10s', true);
  end if;
  perform migration_control.enter_stores();
  perform pg_advisory_xact_lock_shared(hashtext('causeway routes'));
  -- A statement of its own: it sees what was committed while the lock was waited for.
  return exists (
    select 1 from migration_control.routing where collection = wanted and epoch = known_epoch and write_mode = 'new_system'
      and (fenced_until is null or fenced_until <= clock_timestamp())
  );
end
$$;

alter table migration_control.closed_collections add column token uuid not null;
comment on column migration_control.closed_collections.token is 'of the switch that closed it; stands in the closing itself too, and only who finds the same there opens the collection';

alter table migration_control.reverse_position add column anchor bigint not null default 0;
comment on column migration_control.reverse_position.anchor is 'the old system''s cluster time when this was anchored; guards in the old system carry it, and those of earlier anchors count for nothing';

create table migration_control.guards_to_drop (store text primary key check (store in ('source', 'target')));
comment on table migration_control.guards_to_drop is 'the reverse replication was taken down, and what guarded it (causeway_reverse) is still to be removed';
