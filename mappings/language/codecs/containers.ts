// Values that hold values: array of a codec, json, bytes.
import { Binary } from 'bson';
import { toJson } from '../../fields/json.ts';
import { keepBytes } from '../keep.ts';
import { missing, unreadable, value, type Codec, type SqlType } from '../codec.ts';

/** A list of one kind. One entry that cannot be read makes the whole list unreadable: a hole would be another list. */
export const arrayCodec = <Out>(item: Codec<Out>): Codec<readonly Out[]> => ({
  name: `array(${item.name})`,
  type: `${item.type}[]` as SqlType,
  bson: ['array'],
  read(source, place) {
    if (source === undefined || source === null) return missing;
    if (!Array.isArray(source)) return unreadable(`${place.path} is no list`);
    const result: Out[] = [];
    for (const [i, one] of source.entries()) {
      const read = item.read(one, { ...place, path: `${place.path}.${i}` });
      if (read.is !== 'value') return unreadable(`${place.path}.${i} is no ${item.name}`);
      result.push(read.value);
    }
    return value(result);
  },
  write: (list, old, settings) => [
    list.map((one, i) => {
      const [before] = Array.isArray(old) ? [old[i] as unknown] : [];
      return item.write(one, before, settings)[0];
    }),
  ],
});

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Any value as JSON; what JSON does not give back is kept under its path. */
export const jsonCodec: Codec<Json> = {
  name: 'json',
  type: 'jsonb',
  bson: ['object', 'array'],
  keeps: 'itself',
  read(source, { path, notes }) {
    if (source === undefined) return missing;
    if (source === null) {
      notes.keep(path, null);
      return missing;
    }
    const json = toJson(source, path, notes) as Json;
    keepBytes(notes, path, source, json);
    return value(json);
  },
  write: () => [],
};

/** Binary data of the general kind; its text in base64 is read too. */
export const bytesCodec: Codec<Uint8Array> = {
  name: 'bytes',
  type: 'bytea',
  bson: ['binData'],
  read(source, { path }) {
    if (source === undefined || source === null) return missing;
    return source instanceof Binary
      ? value(source.buffer.subarray(0, source.position))
      : unreadable(`${path} is no binary data`);
  },
  write: (bytes, old) => [new Binary(Buffer.from(bytes), old instanceof Binary ? old.sub_type : 0)],
};
