// One document through its mapping: loaded as rows, quarantined with a reason, or skipped. Pure.
import { faultOf } from '../core/bson/decode.ts';
import { Quarantined, quarantine } from '../core/quarantine.ts';
import { sameBson } from './language/same.ts';
import type { Document, Mapping, Outcome } from './mapping.ts';
import { Notes } from './notes.ts';
import type { TransformSettings } from './settings.ts';

export type Transformed =
  | { readonly state: 'loaded'; readonly outcome: Outcome; readonly warnings: readonly string[] }
  | { readonly state: 'skipped'; readonly rule: string }
  | { readonly state: 'quarantined'; readonly rule: string; readonly path: string; readonly message: string };

/**
 * `document`: as core/bson/decode.ts decodes it; what was lost in that quarantines it. Errors other than Quarantined are a mapping's defect; they
 * quarantine the document too (mapping_failed), so that one document stops nothing.
 */
export function transformDocument(mapping: Mapping, document: Document, settings: TransformSettings): Transformed {
  const fault = faultOf(document);
  if (fault) return { state: 'quarantined', ...fault };
  try {
    const named = withFirstNames(mapping, document);
    const skipped = mapping.skip(named);
    if (skipped !== undefined) return { state: 'skipped', rule: skipped };
    const notes = new Notes();
    const outcome = mapping.transform(named, notes, settings);
    return { state: 'loaded', outcome, warnings: notes.warnings };
  } catch (error) {
    if (error instanceof Quarantined)
      return { state: 'quarantined', rule: error.rule, path: error.path, message: error.message };
    const kind = error instanceof Error ? error.name : typeof error;
    return {
      state: 'quarantined',
      rule: 'mapping_failed',
      path: '',
      message: `the mapping failed on this document (${kind})`,
    };
  }
}

/**
 * The document with other spellings of fields under their first names. The same object when there is nothing to rename.
 * Two spellings that hold different values quarantine the document (aliases_agree); where they agree, one is kept.
 */
export function withFirstNames(mapping: Mapping, document: Document): Document {
  let renamed: Document | undefined;
  for (const key in document) {
    if (!Object.hasOwn(mapping.otherNames, key)) continue;
    renamed ??= { ...document };
    const first = mapping.otherNames[key]!;
    const value = renamed[key];
    delete renamed[key];
    if (!Object.hasOwn(renamed, first)) renamed[first] = value;
    else if (!sameBson(renamed[first], value))
      quarantine('aliases_agree', key, `${key} and ${first} hold different values`);
  }
  return renamed ?? document;
}
