// What a sample of documents looks like, path by path: BSON types, forms of text, sizes of numbers. No value is kept.
import { typeOf } from '../core/bson-type.ts';
import type { Document } from '../mappings/mapping.ts';

/** The narrowest that a text has. `zoned`: a time with its offset; `wallclock`: one without. */
export type TextForm = 'zoned' | 'wallclock' | 'day' | 'hex' | 'uuid' | 'number' | 'other';

export interface Seen {
  /** Documents, or entries of a list, that have it. */
  present: number;
  readonly types: Map<string, number>;
  readonly texts: Map<TextForm, number>;
  /** Most digits before and after the point. */
  readonly digits: { before: number; after: number };
  /** Of objects. */
  readonly fields: Map<string, Seen>;
  /** Of lists, all entries together. */
  entries: Seen | undefined;
  /** There were more names than are followed: they are data, not fields. */
  isOpen: boolean;
}

const mostNames = 80;
const deepest = 4;

export const nothingSeen = (): Seen => ({
  present: 0,
  types: new Map(),
  texts: new Map(),
  digits: { before: 0, after: 0 },
  fields: new Map(),
  entries: undefined,
  isOpen: false,
});

/** Notes a document in the root's `fields`. `document`: decoded without promotion. */
export function observe(root: Seen, document: Document): void {
  root.present++;
  fieldsOf(root, document, 1);
}

function note(seen: Seen, value: unknown, depth: number): void {
  const type = typeOf(value);
  seen.present++;
  add(seen.types, type);
  if (type === 'string') add(seen.texts, formOf(value as string));
  else if (['int', 'long', 'double', 'decimal'].includes(type)) measure(seen, String(value));
  else if (type === 'object' && depth < deepest) fieldsOf(seen, value as Document, depth + 1);
  else if (type === 'array' && depth < deepest)
    for (const entry of value as unknown[]) note((seen.entries ??= nothingSeen()), entry, depth + 1);
}

function fieldsOf(seen: Seen, document: Document, depth: number): void {
  for (const name in document) {
    let field = seen.fields.get(name);
    if (!field) {
      if (seen.fields.size >= mostNames) {
        seen.isOpen = true;
        continue;
      }
      seen.fields.set(name, (field = nothingSeen()));
    }
    note(field, document[name], depth);
  }
}

const forms: readonly (readonly [TextForm, RegExp])[] = [
  ['day', /^\d{4}-\d{2}-\d{2}$/],
  ['zoned', /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})$/i],
  ['wallclock', /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?$/],
  ['hex', /^[0-9a-f]{24}$/i],
  ['uuid', /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i],
  ['number', /^[+-]?\d+(\.\d+)?$/],
];

const formOf = (text: string): TextForm => forms.find(([, form]) => form.test(text))?.[0] ?? 'other';

function measure({ digits }: Seen, text: string): void {
  const [, before, after = ''] = /^-?(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  if (before === undefined) return;
  digits.before = Math.max(digits.before, before.length);
  digits.after = Math.max(digits.after, after.length);
}

const add = <K>(counts: Map<K, number>, key: K): void => void counts.set(key, (counts.get(key) ?? 0) + 1);
