-- A verification that repairs sets keys again that Redis has forgotten; and signs what it writes.

alter table migration_control.verification_scans add column restored bigint not null default 0;
comment on column migration_control.verification_scans.restored is 'keys that were not in Redis and have been set again; evicted are those that are still not there';
comment on column migration_control.ledger.origin is 'how the version came: null copy, c change capture, w second write, a read again, g gap repair, q quarantine retry, b way back, v verification repair';
