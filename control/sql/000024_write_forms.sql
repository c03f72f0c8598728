-- The default of `source_id` outlives this schema, so it is written out where it is given, and hangs on no function here.

drop function migration_control.object_id();
