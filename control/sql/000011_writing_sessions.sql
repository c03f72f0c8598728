-- Sessions of MongoDB in which a worker process writes. A process that dies within a transaction leaves it open, and with it the documents it
-- wrote locked, until the server's own limit; the others end it at once.

create table migration_control.writing_sessions (
  holder text not null,
  store text not null check (store in ('source', 'target')),
  session_id uuid not null,
  seen_at timestamptz not null,
  primary key (session_id, store)
);
comment on table migration_control.writing_sessions is 'noted before the first transaction; holder is the task queue that only this process serves';
