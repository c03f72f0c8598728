// Keys too long for an index of PostgreSQL stand in every table as a digest; which key it is, this process has seen, or reads from the control schema.
import xxhash from 'xxhash-wasm';

const hasher = await xxhash();

/** Bytes. An index takes 2,700 for all its columns together, and a source id stands beside others. */
const longest = 1000;
const known = new Map<string, string>();
const unsaved = new Set<string>();

/** The text itself, or where it is too long its digest, which is remembered to be saved. */
export function shortened(text: string): string {
  if (text.length <= longest / 3 || Buffer.byteLength(text) <= longest) return text;
  const key = `long:${text.length}:${digestOf(text)}`;
  const other = known.get(key);
  if (other !== undefined && other !== text) throw new RangeError('two long keys have the same digest');
  if (other === undefined) {
    known.set(key, text);
    unsaved.add(key);
  }
  return key;
}

/** 128 bits; two keys that share them are told apart when they are saved. */
const digestOf = (text: string): string =>
  [0n, 1n].map((seed) => hasher.h64(text, seed).toString(16).padStart(16, '0')).join('');

/** No key reads so by itself: a string stands in quotes. */
export const isShortened = (key: string): boolean => /^long:\d+:[0-9a-f]{32}$/.test(key);

/** The text that a digest stands for; undefined where this process has not seen it. */
export const wholeOf = (key: string): string | undefined => known.get(key);

export const learn = (key: string, whole: string): void => void known.set(key, whole);

/** What is to be saved before anything is written under it. */
export const toSave = (): (readonly [key: string, whole: string])[] =>
  [...unsaved].map((key) => [key, known.get(key)!] as const);

export const saved = (keys: Iterable<string>): void => {
  for (const key of keys) unsaved.delete(key);
};
