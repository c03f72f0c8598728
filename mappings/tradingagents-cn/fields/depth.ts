// Research depth: two vocabularies and plain digits -> 1 to 5.
import { readInteger } from '../../fields/number.ts';

const words: Record<string, number> = {
  快速: 1,
  基础: 2,
  标准: 3,
  深度: 4,
  全面: 5,
  quick: 1,
  basic: 2,
  standard: 3,
  deep: 4,
  comprehensive: 5,
};

/** The depth in the vocabulary that the one before was in: words of either language, a digit, a number. */
export function depthLike(depth: unknown, old: unknown): unknown[] {
  if (typeof old !== 'string') return [];
  const latin = (text: string) => /^[a-z]+$/.test(text.trim());
  const number = Number(String(depth));
  if (/^\s*\d/.test(old)) return [String(number)];
  return Object.keys(words).filter((word) => words[word] === number && latin(word) === latin(old));
}

/** undefined when the value is no depth. */
export function researchDepth(value: unknown): number | undefined {
  if (typeof value === 'string' && Object.hasOwn(words, value.trim())) return words[value.trim()];
  const read = readInteger(value);
  return read.is === 'integer' && read.value >= 1 && read.value <= 5 ? Number(read.value) : undefined;
}
