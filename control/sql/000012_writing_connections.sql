-- Connections to PostgreSQL are ended like sessions of MongoDB: the server's own limit for a transaction that idles does not count while it waits for
-- the rows of a COPY.

alter table migration_control.writing_sessions drop constraint writing_sessions_store_check;
alter table migration_control.writing_sessions
  add constraint writing_sessions_store_check check (store in ('source', 'target', 'postgres'));
comment on column migration_control.writing_sessions.session_id is 'of MongoDB its session; of PostgreSQL the id in application_name of all connections of the process';
