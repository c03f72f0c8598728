-- Which document has the unique value that another one lost: whoever looks into the quarantine finds it.

alter table migration_control.elections add column winner text collate "C", add column winner_source text;
comment on column migration_control.elections.winner is 'source id of the document that has the value, where it is known';
comment on column migration_control.elections.winner_source is 'its source collection, where that is known';
