// The jsonb column that holds what has no column of its own: nothing of a document is dropped.
import type { Document } from '../mapping.ts';
import type { Notes } from '../notes.ts';
import { setOwn } from '../../core/bson/decode.ts';
import { isBsonScalar, toJson } from './json.ts';
import { cleanText } from './text.ts';

/**
 * The document's own `metadata`, every field that is not in `columns`, the tags that are set, and under `_causeway` what no column can
 * say: `{ warnings, original, fields }`, the last for names that stand in `metadata` already. null where there is nothing.
 */
export function residual(
  document: Document,
  columns: ReadonlySet<string>,
  notes: Notes,
  tags: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> | null {
  const result: Record<string, unknown> = {};
  const own = document['metadata'];
  if (own !== undefined && !columns.has('metadata')) {
    const json = toJson(own, 'metadata', notes);
    if (json !== null && typeof json === 'object' && !Array.isArray(json) && !isBsonScalar(own))
      for (const [key, value] of Object.entries(json)) setOwn(result, key, value);
    else result['metadata'] = json;
  }
  const clashes: Record<string, unknown> = {};
  for (const key in document) {
    if (key === 'metadata' || key === '_id' || columns.has(key)) continue;
    const into = Object.hasOwn(result, key) || key === '_causeway' ? clashes : result;
    setOwn(into, cleanText(key, key, notes), toJson(document[key], key, notes));
  }
  for (const tag in tags) if (tags[tag] !== undefined && tags[tag] !== false) result[tag] = tags[tag];
  const kept = notes.residual();
  const clashed = Object.keys(clashes).length > 0;
  if (kept || clashed) result['_causeway'] = { ...kept, ...(clashed && { fields: clashes }) };
  for (const _ in result) return result;
  return null;
}
