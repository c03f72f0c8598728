// Documents that are no data: markers and samples that set-up scripts leave in collections.
import type { Document } from '../../mapping.ts';

const samples = new Set(['sample_scan_structure', 'sample_session_structure']);

/** The rule under which a document is skipped, or undefined. */
export function isMarker(document: Document): string | undefined {
  if ('_collection_meta' in document) return 'collection_marker';
  if (samples.has(document['session_id'] as string) || samples.has(document['scan_id'] as string))
    return 'sample_document';
  return undefined;
}
