-- What was written last is compared while writers wait: found by an index, which what the copy loads pays nothing for.

create index ledger_written_last on migration_control.ledger (version) where origin is not null;
comment on column migration_control.ledger.origin is 'how the version came: null copy, c change capture, w second write, a read again, g gap repair, q quarantine retry, b way back';
