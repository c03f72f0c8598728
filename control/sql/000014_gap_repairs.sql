-- A gap that opens while another is being repaired is not closed with it.

alter table migration_control.capture_gaps add column repairing boolean not null default false;
comment on column migration_control.capture_gaps.repairing is 'the stream was opened anew for the repair under way: when it ends, this gap closes';
