// What is kept of a value is told in Extended JSON, and in its bytes where that does not give the same ones back.
import { Double, EJSON, Int32, Long, ObjectId, serialize } from 'bson';
import { valueOfText } from '../../core/bson/parse.ts';
import { elementsOf, type Element } from '../back/elements.ts';
import { fromJson } from '../back/json.ts';
import type { Notes } from '../notes.ts';

export function keep(notes: Notes, path: string, value: unknown): void {
  notes.keep(path, isPlainly(value) ? value : faithful(value));
}

const elementOf = (value: unknown): Element => elementsOf(serialize({ v: value }))[0]!;

/** The value itself, or its type and bytes. */
function faithful(value: unknown): unknown {
  const source = elementOf(value);
  const text = JSON.stringify(EJSON.serialize({ v: value }, { relaxed: false })['v']);
  const back = valueOfText(text);
  const same = back?.type === source.type && Buffer.compare(back.bytes, source.value) === 0;
  return same ? value : bytesOf(source);
}

const bytesOf = ({ type, value }: Element): { readonly $bson: string } => ({
  $bson: type.toString(16).padStart(2, '0') + Buffer.from(value).toString('hex'),
});

/** Values that Extended JSON is known to give back. */
const isPlainly = (value: unknown): boolean =>
  value === null ||
  typeof value === 'string' ||
  typeof value === 'boolean' ||
  value instanceof Int32 ||
  value instanceof Double ||
  value instanceof Long ||
  value instanceof Date ||
  value instanceof ObjectId;

/** Keeps the bytes of a value whose JSON, with what is kept inside it, does not give them back. */
export function keepBytes(notes: Notes, path: string, value: unknown, json: unknown): void {
  const isWhole = value instanceof Double && Number.isInteger(value.value);
  const isLeast = value instanceof Int32 && value.value === -2_147_483_648;
  if (isPlainly(value) && !isWhole && !isLeast) return;
  const source = elementOf(value);
  const kept = (notes.residual()?.['original'] ?? {}) as Readonly<Record<string, unknown>>;
  const made = fromJson('v', json, undefined, path, kept);
  if (made.type === source.type && Buffer.compare(made.value, source.value) === 0) return;
  notes.keep(path, bytesOf(source));
}
