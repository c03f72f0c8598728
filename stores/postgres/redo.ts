// Noting that a document has to be read from the source once more.

/**
 * Ends an insert into `redo`. A note that is there is written again, not left as it is: whoever is reading the document has it locked and may
 * have read it too early for this one, and would then remove the note of a change that nobody has applied. So this waits for them.
 */
export const orNoteAgain = `on conflict (collection_id, source_id) do update set
  since = case when redo.since = '-infinity' then excluded.since else redo.since end, due_at = least(redo.due_at, excluded.due_at)`;
