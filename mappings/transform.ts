// One document through its mapping: loaded as rows, quarantined with a reason, or skipped. Pure.
import { faultOf } from '../core/bson/decode.ts';
import { Quarantined } from '../core/quarantine.ts';
import { pathOf, withFirstNames as underFirstNames, type Spellings } from './language/paths.ts';
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

const spellings = new WeakMap<Mapping, Spellings>();

/** The document with other spellings of fields under their first names, within other fields, too. Throws Quarantined (aliases_agree). */
export function withFirstNames(mapping: Mapping, document: Document): Document {
  let its = spellings.get(mapping);
  if (!its) {
    its = Object.entries(mapping.otherNames).map(([other, first]) => [pathOf(other), pathOf(first)]);
    spellings.set(mapping, its);
  }
  return underFirstNames(its, document);
}
