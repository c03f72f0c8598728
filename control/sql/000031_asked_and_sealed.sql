-- Nothing that Causeway keeps shows a session's key, and no index is limited by how long a key is.

alter table migration_control.verification_keys add column sealed text;
comment on column migration_control.verification_keys.id is 'a document''s id, a file''s path, or what stands for a key of Redis';
comment on column migration_control.verification_keys.sealed is 'the key of Redis, encrypted';
comment on column migration_control.ledger.kept is 'the document''s BSON, encrypted, where its fields stand in an order that no target keeps; the way back starts from it when the old system has lost the document';
comment on column migration_control.reverse_conflicts.document is 'the side that was not kept, encrypted: causeway reverse conflict shows it; null: it had been deleted';

alter table migration_control.announced_keys drop constraint announced_keys_pkey;
create unique index announced_keys_once on migration_control.announced_keys (batch_id, md5(key), source_id);

-- A reference may be as long as a text, and an index takes 2,700 bytes.
alter table migration_control.unresolved drop constraint unresolved_pkey;
create unique index unresolved_once on migration_control.unresolved (collection_id, source_id, parent, parent_column, md5(key));
drop index migration_control.unresolved_parent_parent_column_key_idx;
create index on migration_control.unresolved (parent, parent_column);

-- Neither may a row's `source_id` or a file's path be limited by it.
alter table migration_control.verification_keys drop constraint verification_keys_pkey;
create unique index verification_keys_once on migration_control.verification_keys (run_id, kind, collection_id, md5(id));
