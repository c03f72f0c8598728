-- What the targets cannot give back of a document: the order of fields whose names look like numbers (docs/decisions/0027-bytes.md).

alter table migration_control.ledger add column kept bytea;
comment on column migration_control.ledger.kept is 'the document''s BSON, where its fields stand in an order that no target keeps; the way back starts from it when the old system has lost the document';
