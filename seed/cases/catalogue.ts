// The words the catalogues of dirt are written in.
import type { Check, Dirt, DirtyCase, DirtPlace, Document } from '../shape.ts';

type Value = unknown;

export const loaded = (number: number, variant: string, apply: Dirt): DirtyCase => ({
  case: number,
  variant,
  expect: 'loaded',
  apply,
});

export const quarantined = (number: number, variant: string, rule: string, apply: Dirt): DirtyCase => ({
  case: number,
  variant,
  expect: 'quarantined',
  rule,
  apply,
});

export const skipped = (number: number, variant: string, apply: Dirt): DirtyCase => ({
  case: number,
  variant,
  expect: 'skipped',
  apply,
});

/** Gives a field another value; a check may say what the target should hold. */
export const set =
  (field: string, value: Value, check?: Check): Dirt =>
  (document) => {
    document[field] = value;
    return check;
  };

/** The same for a value that depends on the document or its place. */
export const change =
  (field: string, value: (document: Document, place: DirtPlace) => Value, check?: Check): Dirt =>
  (document, place) => {
    document[field] = value(document, place);
    return check;
  };

export const remove =
  (field: string, check?: Check): Dirt =>
  (document) => {
    delete document[field];
    return check;
  };

/** Moves fields to other names, `{ inputTokens: 'input_tokens' }`, in place. */
export const rename =
  (names: Readonly<Record<string, string>>, check?: Check): Dirt =>
  (document) => {
    for (const [to, from] of Object.entries(names)) {
      if (!(from in document)) continue;
      document[to] = document[from];
      delete document[from];
    }
    return check;
  };

export const column = (name: string, value: unknown, tolerance?: string): Check => ({
  column: name,
  value,
  ...(tolerance === undefined ? {} : { tolerance }),
});

/** Replaces every field but `_id`. */
export function become(document: Document, fields: Record<string, unknown>): void {
  for (const field of Object.keys(document)) if (field !== '_id') delete document[field];
  Object.assign(document, fields);
}

/** The marker a design document's script leaves in each collection it creates. */
export const marker = (description: string): DirtyCase =>
  skipped(42, 'collection marker', (document, { moment }) =>
    become(document, {
      _collection_meta: { description, created_at: new Date(moment.time), version: '1.0.0' },
    }),
  );

/** The sample documents of that design's first migration. */
export const sample = (field: 'scan_id' | 'session_id', name: string, fields: Record<string, unknown>): DirtyCase =>
  skipped(43, name, (document) =>
    become(document, { _schema_version: '1.0.0', ...fields, [field]: name, created_at: null, updated_at: null }),
  );
