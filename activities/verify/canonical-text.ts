// Decimals and JSON as PostgreSQL shows them, written anew: nothing here is shared with the loader's encoders.

/** A decimal in text, rounded to `scale` places (half away from zero, as numeric does), without trailing zeros, exponent or minus zero. */
export function decimal(text: string, scale: number): string {
  const plain = /^(0|[1-9]\d*)(?:\.(\d*[1-9]))?$/.exec(text);
  if (plain && (plain[2]?.length ?? 0) <= scale) return text;
  const found = /^\s*([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?\s*$/.exec(text);
  if (!found) return text;
  const [, sign, whole = '', fraction = '', exponent = '0'] = found;
  const places = fraction.length - Number(exponent);
  let units = BigInt(whole + fraction || '0');
  if (places > scale) {
    const cut = 10n ** BigInt(places - scale);
    units = (units + cut / 2n) / cut;
  } else units *= 10n ** BigInt(scale - places);
  const digits = units.toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  const trimmed = scale === 0 ? digits : `${digits.slice(0, point)}.${digits.slice(point)}`.replace(/\.?0+$/, '');
  return units === 0n ? '0' : `${sign === '-' ? '-' : ''}${trimmed}`;
}

/** A JavaScript number with all its digits: no exponent, as many places as its shortest form has. */
export function plainNumber(value: number): string {
  const text = String(value === 0 ? 0 : value);
  const found = /^(-?)(\d+)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (!found) return text;
  const [, sign, whole, fraction = '', exponent] = found;
  const digits = whole! + fraction;
  const point = whole!.length + Number(exponent);
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  if (point >= digits.length) return sign + digits + '0'.repeat(point - digits.length);
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/**
 * A value as `jsonb::text` shows it: keys by length in bytes, then bytewise; one space after colons and commas; numbers without exponent.
 * undefined where jsonb cannot hold it: NUL in text, no finite number.
 */
export function jsonText(value: unknown): string | undefined {
  try {
    return write(value);
  } catch (error) {
    if (error instanceof NotJson) return undefined;
    throw error;
  }
}

class NotJson extends Error {}

function write(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  switch (typeof value) {
    case 'string':
      return writeText(value);
    case 'number':
      return Number.isFinite(value) ? plainNumber(value) : 'null';
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (Array.isArray(value)) return `[${value.map(write).join(', ')}]`;
      return writeObject(value as Record<string, unknown>);
    default:
      throw new NotJson();
  }
}

function writeText(value: string): string {
  if (value.includes('\u0000')) throw new NotJson();
  return JSON.stringify(value);
}

function writeObject(value: Record<string, unknown>): string {
  const keys = Object.keys(value).filter((key) => value[key] !== undefined);
  if (keys.length > 1) keys.sort(byLengthThenBytes);
  return `{${keys.map((key) => `${writeText(key)}: ${write(value[key])}`).join(', ')}}`;
}

const ascii = /^[\x20-\x7e]*$/;

function byLengthThenBytes(a: string, b: string): number {
  if (ascii.test(a) && ascii.test(b)) return a.length - b.length || (a < b ? -1 : 1);
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length - right.length || left.compare(right);
}
