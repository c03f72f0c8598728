-- For an application in any language: the first statement of its transaction that writes to the new system.

create function migration_control.admit_write(wanted text, known_epoch bigint) returns boolean language plpgsql volatile as
$$
begin
  perform migration_control.enter_stores();
  perform pg_advisory_xact_lock_shared(hashtext('causeway routes'));
  -- A statement of its own: it sees what was committed while the lock was waited for.
  return exists (
    select 1 from migration_control.routing where collection = wanted and epoch = known_epoch and write_mode = 'new_system'
      and (fenced_until is null or fenced_until <= clock_timestamp())
  );
end
$$;
comment on function migration_control.admit_write is 'true: what this transaction writes counts, because the new system is authoritative in this epoch, and stays so until it ends. false: write nothing, ask for the route again';
