// PostgreSQL's binary numeric: groups of four decimal digits, where the point stands, and how many digits are shown behind it.
import type { FastOutput } from '../codec.ts';
import { int16, int32 } from './output.ts';

const groups = new Int32Array(64);

/** `whole` and `fraction` are digits, without sign; `fraction` shows the scale. */
function write(out: FastOutput, negative: boolean, count: number, weight: number, scale: number): void {
  let used = count;
  while (used > 0 && groups[used - 1] === 0) used--;
  let first = 0;
  while (first < used && groups[first] === 0) first++;
  const digits = used - first;
  out.room(12 + digits * 2);
  int32(out, 8 + digits * 2);
  int16(out, digits);
  int16(out, digits === 0 ? 0 : weight - first);
  int16(out, negative && digits > 0 ? 0x4000 : 0);
  int16(out, scale);
  for (let i = first; i < used; i++) int16(out, groups[i]!);
}

/** Decimal text without exponent. */
export function numericFromText(out: FastOutput, text: string): void {
  const negative = text.startsWith('-');
  const point = text.indexOf('.');
  const whole = text.slice(negative ? 1 : 0, point < 0 ? undefined : point);
  const fraction = point < 0 ? '' : text.slice(point + 1);
  const before = whole.padStart(Math.ceil(whole.length / 4) * 4, '0');
  const after = fraction.padEnd(Math.ceil(fraction.length / 4) * 4, '0');
  const all = before + after;
  const count = all.length / 4;
  if (count > groups.length) throw new RangeError('a number has more digits than any column');
  for (let i = 0; i < count; i++) groups[i] = Number(all.slice(i * 4, i * 4 + 4));
  write(out, negative, count, before.length / 4 - 1, fraction.length);
}

const powers = Array.from({ length: 16 }, (_, i) => Number(`1e${i}`));

/**
 * The shortest decimal of a double, as String() gives it, where that has no exponent and at most 15 digits: with so few, only one number of `scale`
 * digits is read as this double. false for any other.
 */
export function numericFromDouble(out: FastOutput, value: number, scale: number, before: number): boolean {
  if (!(value >= 1e-6 && value < 1e15)) {
    if (value !== 0 || Object.is(value, -0)) return false;
    write(out, false, 0, 0, 0);
    return true;
  }
  if (value >= before) return false;
  let digits = 0;
  let whole = value;
  for (; ; digits++) {
    if (digits > scale || digits > 15) return false;
    whole = Math.round(value * powers[digits]!);
    if (whole >= 1e15) return false;
    if (whole / powers[digits]! === value) break;
  }
  const integer = Math.floor(whole / powers[digits]!);
  let fraction = whole - integer * powers[digits]!;
  const behind = Math.ceil(digits / 4);
  fraction *= powers[behind * 4 - digits]!;
  let rest = integer;
  let ahead = 0;
  while (rest >= 1) {
    ahead++;
    rest = Math.floor(rest / 10_000);
  }
  rest = integer;
  for (let i = ahead - 1; i >= 0; i--) {
    const higher = Math.floor(rest / 10_000);
    groups[i] = rest - higher * 10_000;
    rest = higher;
  }
  for (let i = behind - 1; i >= 0; i--) {
    const higher = Math.floor(fraction / 10_000);
    groups[ahead + i] = fraction - higher * 10_000;
    fraction = higher;
  }
  write(out, false, ahead + behind, ahead - 1, digits);
  return true;
}
