// Documents that are no data, as the compiled reader tells that a document is none of them.
import type { Look } from '../language/fast/look.ts';

/** What `isMarker` looks at: fields that only markers have, and two names of samples. */
export const markers = (look: Look): boolean =>
  !look.has('_collection_meta') && !look.has('scan_id') && !look.begins('session_id', 'sample_');
