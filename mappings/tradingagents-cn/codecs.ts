// Codecs of TradingAgents-CN: its times, providers, currencies, tokens, owners and flags, as documents of several versions hold them.
import { Int32, ObjectId } from 'bson';
import { bsonType } from '../../core/bson/reader.ts';
import { Parent } from '../../stores/postgres/target.ts';
import { isoAt, timesLike } from '../back/times.ts';
import { textsLike, valuesLike } from '../back/values.ts';
import { currencyCode } from './fields/currency.ts';
import { readInstant } from '../fields/instant.ts';
import { readInteger, readNumber, roundHalfEven } from '../fields/number.ts';
import { providerName } from './fields/provider.ts';
import { userReference } from './fields/user.ts';
import { Notes } from '../notes.ts';
import { missing, refused, unreadable, value, type Codec, type Settings } from '../language/codec.ts';
import type { Ref } from '../language/codecs/ref.ts';
import { isDoubleOf } from '../language/codecs/numbers.ts';
import { textCodec } from '../language/codecs/text.ts';
import { fastBigint, fastDecimal, fastText, isoMicros, writeInstant } from '../language/fast/scalars.ts';

const hours = 3_600e6;
const minutes = 60e6;
export const zoneOf = (settings: Settings): string => String(settings['zone']);
const hints = (settings: Settings) => ({ zone: zoneOf(settings), time: 'text' as const, nullable: false });

const isoformat = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}\+08:00$/;

const isNear = (at: number, written: number | undefined): boolean =>
  written !== undefined && Math.abs(at - written) <= 10 * minutes;

/** When a call was made: text with its zone, as it is written today; the id's own time tells what others mean. */
export const usageTime: Codec<number> = {
  name: 'instant',
  type: 'timestamptz',
  bson: ['string', 'date', 'double'],
  keeps: 'unnatural',
  read(source, { notes, settings, beside }) {
    const zone = zoneOf(settings);
    const read = readInstant(source, zone);
    if (!read) return unreadable('timestamp is missing or is no point in time');
    let { micros } = read;
    const id = beside['_id'];
    const written = id instanceof ObjectId ? id.getTimestamp().getTime() * 1000 : undefined;
    if (read.form === 'naive') {
      // A host that ran in UTC wrote UTC wall-clock time.
      const asUtc = readInstant(`${(source as string).trim()}Z`, 'UTC')!.micros;
      if (!isNear(micros, written) && isNear(asUtc, written)) {
        micros = asUtc;
        notes.warn('timestamp_zone_from_id');
      } else notes.warn('timestamp_zone_assumed');
    } else if (read.form === 'date') notes.warn('timestamp_was_date');
    // Local time that was written as if it were UTC lies eight hours after the id's own time.
    if (read.form !== 'naive' && !isNear(micros, written) && isNear(micros - 8 * hours, written)) {
      micros -= 8 * hours;
      notes.warn('timestamp_shifted_8h');
    }
    if (micros > settings.asOf * 1000 + 5 * minutes)
      return refused('timestamp lies in the future, and no zone explains it', 'timestamp_in_future');
    return value(micros);
  },
  isNatural: (source, micros) =>
    typeof source === 'string' && isoformat.test(source) && readInstant(source, 'UTC')!.micros === micros,
  write: (micros, old, settings) =>
    old === undefined
      ? [isoAt(micros, 480, { digits: 6 }), ...timesLike(micros, old, zoneOf(settings), 'text')]
      : timesLike(micros, old, zoneOf(settings), 'text'),
  fast: {
    write(bytes, type, at, end, out, { idAt, settings }) {
      if (type !== bsonType.string || end - at !== 37 || idAt < 0) return false;
      const micros = isoMicros(bytes, at + 4);
      const early = bytes.readUInt32BE(idAt) * 1e6 + 8 * hours;
      if (micros > settings.asOf * 1000 + 5 * minutes || Math.abs(micros - early) <= 10 * minutes) return false;
      return writeInstant(out, micros);
    },
  },
};

const isAt = (bytes: Buffer, at: number, its: Buffer): boolean => {
  for (let i = its.length - 1; i >= 0; i--) if (bytes[at + i] !== its[i]) return false;
  return true;
};

/** Exactly these texts take the fast path: they are what they become. */
const fastOf = (is: (text: string) => boolean): Codec<string>['fast'] => {
  const known = new Map<number, Buffer[]>();
  const none: readonly Buffer[] = [];
  return {
    write(bytes, type, at, end, out, place) {
      if (type !== bsonType.string || end - at > 64) return false;
      const length = end - at;
      for (const one of known.get(length) ?? none)
        if (isAt(bytes, at, one)) return fastText.write(bytes, type, at, end, out, place);
      const text = bytes.toString('utf8', at + 4, end - 1);
      if (!is(text)) return false;
      known.set(length, [...(known.get(length) ?? []), Buffer.from(bytes.subarray(at, end))]);
      return fastText.write(bytes, type, at, end, out, place);
    },
  };
};

const allowed = (settings: Settings) => (settings['providers'] ?? []) as readonly string[];

export const provider: Codec<string> = {
  name: 'provider',
  type: 'text',
  bson: ['string'],
  read(source, { settings }) {
    const name = typeof source === 'string' ? providerName(source, allowed(settings)) : undefined;
    return name === undefined ? unreadable('provider is missing or not in the allowed list') : value(name);
  },
  write: (name, old) => textsLike(name, old),
  isNatural: (source, name) => source === name,
  check: { rule: 'provider_in_allowed_list', sql: (its) => `${its} = lower(${its})` },
  // Names that the settings add are not known here: they take the slow path.
  fast: fastOf((text) => providerName(text, []) === text)!,
};

export const currency: Codec<string> = {
  name: 'currency',
  type: 'text',
  bson: ['string'],
  read(source) {
    if (source === undefined || source === null || source === '') return missing;
    const code = typeof source === 'string' ? currencyCode(source) : undefined;
    return code === undefined ? refused('currency is not known', 'currency_known') : value(code);
  },
  write: (code, old) => textsLike(code, old),
  isNatural: (source, code) => source === code,
  check: { rule: 'currency_known', sql: (its) => `${its} ~ '^[A-Z]{3}$'` },
  fast: fastOf((text) => currencyCode(text) === text)!,
};

/** Counts of tokens; one that nobody wrote is 0. */
export const tokens: Codec<number | bigint> = {
  name: 'tokens',
  type: 'bigint',
  bson: ['int', 'long'],
  read(source, { path }) {
    const read = readInteger(source);
    if (read.is === 'missing') return missing;
    if (read.is !== 'integer') return refused(`${path} is no whole number`, 'tokens_integral');
    if (read.value < 0) return refused(`${path} is negative`, 'tokens_non_negative');
    if (read.value > 9223372036854775807n) return refused(`${path} is beyond 64 bits`, 'tokens_integral');
    return value(read.value);
  },
  write: (count, old, settings) => valuesLike('bigint', count, old, hints(settings)),
  isNatural: (source) => source instanceof Int32,
  fast: {
    write: (bytes, type, at, end, out, place) =>
      bytes[end - 1]! < 128 && fastBigint.write(bytes, type, at, end, out, place),
  },
};

export const cost: Codec<string> = {
  name: 'cost',
  type: 'numeric(20,12)',
  bson: ['double'],
  keeps: 'unnatural',
  read(source, { notes }) {
    const read = readNumber(source);
    if (read.is === 'infinite') return unreadable('cost is infinite', 'cost_finite');
    if (read.is !== 'number') return unreadable('cost is missing or no number', 'cost_is_number');
    const { text, exact } = roundHalfEven(read.text, 12);
    if (text.startsWith('-')) return unreadable('cost is negative', 'cost_non_negative');
    if (text.replace(/\..*/, '').replace(/^0+/, '').length > 8)
      return unreadable('cost has more than 8 digits before the point', 'cost_in_range');
    if (!exact) notes.warn('cost_rounded');
    if (typeof source === 'string') notes.warn('cost_was_text');
    return value(text);
  },
  write: (text, old, settings) => valuesLike('numeric(20,12)', text, old, hints(settings)),
  isNatural: isDoubleOf,
  fast: fastDecimal(20, 12),
};

/** Text of which "" is nothing. */
export const filled: Codec<string> = {
  ...textCodec,
  read: (source, place) => (source === '' ? missing : textCodec.read(source, place)),
  fast: {
    write: (bytes, type, at, end, out, place) => end - at > 5 && fastText.write(bytes, type, at, end, out, place),
  },
};

/** The owner of a document, by id or by name; nobody where the name says so. */
export const owner: Codec<Ref> = {
  name: 'ref(subscription_users)',
  type: 'bigint',
  bson: ['objectId', 'string'],
  keeps: 'always',
  refers: { mapping: 'subscription_users', by: ['source_id', 'username'], missing: 'null' },
  read(source, { path, notes }) {
    const own = new Notes();
    const found = userReference(source, path, own);
    for (const warning of own.warnings) notes.warn(warning);
    return found ? value(found) : missing;
  },
  write: (ref, old, settings) => (ref instanceof Parent ? valuesLike('bigint', ref, old, hints(settings)) : []),
};
