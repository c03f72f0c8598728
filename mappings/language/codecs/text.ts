// Text and what is written as text: text, uuid.
import { Binary, ObjectId } from 'bson';
import { textsLike } from '../../back/values.ts';
import { isBsonScalar } from '../../fields/json.ts';
import { missing, unreadable, value, type Codec } from '../codec.ts';
import { fastText } from '../fast/scalars.ts';

/** Text as it is, without the U+0000 that PostgreSQL does not take; numbers and ids as text. The original is kept where the text does not give it back. */
export const textCodec: Codec<string> = {
  name: 'text',
  type: 'text',
  bson: ['string'],
  read(source, { notes, path, field }) {
    if (source === undefined || source === null) return missing;
    if (typeof source === 'string') return value(withoutNul(source, () => notes.warn('nul_removed')));
    if (typeof source === 'object' && !isBsonScalar(source)) return unreadable(`${path} is no text`);
    notes.warn(`${field}_not_text`);
    const text = source instanceof ObjectId ? source.toHexString() : String(source as number);
    return value(withoutNul(text, () => notes.warn('nul_removed')));
  },
  write: (text, old) => textsLike(text, old),
  isNatural: (source, text) => source === text,
  fast: fastText,
};

function withoutNul(text: string, warn: () => void): string {
  if (!text.includes('\u0000')) return text;
  warn();
  return text.replaceAll('\u0000', '');
}

const dashed = /^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$/i;
const uuidOf = (text: string): string | undefined => dashed.exec(text.trim())?.slice(1).join('-').toLowerCase();

/** A BSON UUID, or one written as text. */
export const uuidCodec: Codec<string> = {
  name: 'uuid',
  type: 'uuid',
  bson: ['string', 'binData'],
  read(source, { path }) {
    if (source === undefined || source === null || source === '') return missing;
    const text =
      source instanceof Binary && source.sub_type === Binary.SUBTYPE_UUID && source.length() === 16
        ? Buffer.from(source.buffer.subarray(0, 16)).toString('hex')
        : source;
    const uuid = typeof text === 'string' ? uuidOf(text) : undefined;
    return uuid === undefined ? unreadable(`${path} is no UUID`) : value(uuid);
  },
  write(uuid, old) {
    const binary = new Binary(Buffer.from(uuid.replaceAll('-', ''), 'hex'), Binary.SUBTYPE_UUID);
    if (typeof old === 'string') {
      const form = old.includes('-') ? uuid : uuid.replaceAll('-', '');
      return [/[A-F]/.test(old) ? form.toUpperCase() : form, uuid];
    }
    return [binary, uuid];
  },
};
