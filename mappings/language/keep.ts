// Values that stand in a row as JSON: what that does not give back is kept in its bytes.
import { Double, serialize } from 'bson';
import { elementsOf } from '../back/elements.ts';
import { fromJson } from '../back/json.ts';
import { isPlainly, isPlainTree, type Notes } from '../notes.ts';

/** Keeps the bytes of a value whose JSON, with what is kept inside it, does not give them back. */
export function keepBytes(notes: Notes, path: string, value: unknown, json: unknown): void {
  const isWhole = value instanceof Double && Number.isInteger(value.value);
  // Whole doubles within a tree are kept where they stand.
  if (isPlainly(value) ? !isWhole : isPlainTree(value)) return;
  const source = elementsOf(serialize({ v: value }))[0]!;
  const kept = (notes.residual()?.['original'] ?? {}) as Readonly<Record<string, unknown>>;
  const made = fromJson('v', json, undefined, path, kept);
  if (made.type === source.type && Buffer.compare(made.value, source.value) === 0) return;
  notes.keepBytes(path, value);
}
