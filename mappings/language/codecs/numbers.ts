// Numbers and flags: int, bigint, decimal, double, bool. What a column cannot hold exactly is kept as it was.
import { Double, Int32 } from 'bson';
import { booleansLike, numbersLike, valuesLike } from '../../back/values.ts';
import { readInteger, readNumber, roundHalfEven } from '../../fields/number.ts';
import { missing, unreadable, value, type Codec, type Settings } from '../codec.ts';
import { fastBigint, fastBool, fastDecimal, fastDouble, fastInt } from '../fast/scalars.ts';

const hints = (settings: Settings) => ({
  zone: String(settings['zone'] ?? 'UTC'),
  time: 'date' as const,
  nullable: false,
});

/** Whole numbers of 32 bits. */
export const intCodec: Codec<number> = {
  name: 'int',
  type: 'integer',
  bson: ['int'],
  read(source, { path }) {
    const read = readInteger(source);
    if (read.is === 'missing') return missing;
    if (read.is !== 'integer') return unreadable(`${path} is no whole number`);
    if (typeof read.value !== 'number' || Math.abs(read.value) > 2147483647)
      return unreadable(`${path} is beyond 32 bits`);
    return value(read.value + 0);
  },
  write: (number, old, settings) => valuesLike('integer', number, old, hints(settings)),
  isNatural: (source) => source instanceof Int32,
  fast: fastInt,
};

/** Whole numbers of 64 bits. */
export const bigintCodec: Codec<bigint> = {
  name: 'bigint',
  type: 'bigint',
  bson: ['int', 'long'],
  read(source, { path }) {
    const read = readInteger(source);
    if (read.is === 'missing') return missing;
    if (read.is !== 'integer') return unreadable(`${path} is no whole number`);
    const whole = BigInt(read.value);
    return BigInt.asIntN(64, whole) === whole ? value(whole) : unreadable(`${path} is beyond 64 bits`);
  },
  write: (number, old, settings) => valuesLike('bigint', number, old, hints(settings)),
  isNatural: (source) => source instanceof Int32,
  fast: fastBigint,
};

/** Whether it is the double whose shortest text this is. */
export const isDoubleOf = (source: unknown, text: string): boolean =>
  source instanceof Double && String(source.value) === text && !Object.is(source.value, -0);

/** Exact decimal text: the shortest that gives a double back, rounded half to even at `scale` with the original kept. */
export const decimalCodec = (precision: number, scale: number): Codec<string> => ({
  name: `decimal(${precision}, ${scale})`,
  type: `numeric(${precision},${scale})`,
  bson: ['double', 'decimal'],
  read(source, { path, field, notes }) {
    const read = readNumber(source);
    if (read.is === 'missing') return missing;
    if (read.is !== 'number') return unreadable(`${path} is no finite number`);
    if (Math.abs(Number(/e([+-]?\d+)$/i.exec(read.text)?.[1] ?? 0)) > 400)
      return unreadable(`${path} is beyond its column`);
    const { text, exact } = roundHalfEven(read.text, scale);
    if (text.replace(/^-/, '').replace(/\..*/, '').replace(/^0+/, '').length > precision - scale)
      return unreadable(`${path} has more than ${precision - scale} digits before the point`);
    if (!exact) notes.warn(`${field}_rounded`);
    return value(text);
  },
  write: (text, old, settings) => valuesLike(`numeric(${precision},${scale})`, text, old, hints(settings)),
  isNatural: isDoubleOf,
  fast: fastDecimal(precision, scale),
});

/** A double; NaN and infinities say nothing and are kept. */
export const doubleCodec: Codec<number> = {
  name: 'double',
  type: 'double precision',
  bson: ['double'],
  read(source, { path, notes }) {
    const read = readNumber(source);
    if (read.is === 'missing') return missing;
    if (read.is === 'number' && Number.isFinite(Number(read.text))) return value(Number(read.text));
    if (read.is === 'nan' || read.is === 'infinite') notes.warn('not_finite_to_null');
    return unreadable(`${path} is no finite number`);
  },
  isNatural: (source, number) => source instanceof Double && Object.is(source.value, number),
  write: (number, old) => [...numbersLike(String(number), old), new Double(number)],
  fast: fastDouble,
};

const words: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  '1': true,
  on: true,
  false: false,
  no: false,
  '0': false,
  off: false,
};

/** Flags as they are met: booleans, 0 and 1, words. Blank text is nothing. */
export const boolCodec: Codec<boolean> = {
  name: 'bool',
  type: 'boolean',
  bson: ['bool'],
  read(source, { path }) {
    if (typeof source === 'boolean') return value(source);
    if (source === undefined || source === null) return missing;
    if (source instanceof Int32 || source instanceof Double) return value(source.value !== 0);
    const word = typeof source === 'string' ? source.trim().toLowerCase() : undefined;
    if (word === '') return missing;
    return word !== undefined && Object.hasOwn(words, word) ? value(words[word]!) : unreadable(`${path} is no flag`);
  },
  write: (flag, old) => booleansLike(flag, old),
  isNatural: (source) => typeof source === 'boolean',
  fast: fastBool,
};
