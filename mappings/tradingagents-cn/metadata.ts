// metadata, system_config and configurations -> PostgreSQL app_metadata, and one JSON file per category.
import { isMarker } from './fields/marker.ts';
import { toJson } from '../fields/json.ts';
import { files, mapping, table } from '../language/declare.ts';
import { missing, refused, value, type Codec } from '../language/codec.ts';
import type { Json } from '../language/codecs/containers.ts';
import { textCodec } from '../language/codecs/text.ts';
import { keepBytes } from '../language/keep.ts';
import { column, residual, text } from '../language/words.ts';
import type { Document } from '../mapping.ts';
import { moment } from './moment.ts';
import { settingQueries } from './queries/settings.ts';

const isFilled = (its: unknown): its is string => typeof its === 'string' && its.replaceAll('\u0000', '').trim() !== '';

/** `key`, or `config_type.config_name` of the older form. */
function keyOf(document: Document): string | undefined {
  if (isFilled(document['key'])) return document['key'];
  const { config_name: name, config_type: type } = document;
  if (!isFilled(name)) return undefined;
  return isFilled(type) ? `${type}.${name}` : name;
}

const key: Codec<string> = {
  ...textCodec,
  keeps: 'itself',
  read(source, place) {
    const { beside, notes } = place;
    const its = keyOf(beside);
    if (its === undefined) return refused('key is missing, and there is no config_name either', 'key_not_null');
    const read = textCodec.read(its, place);
    if (its.includes('\u0000')) notes.keep('key', its);
    if (source !== undefined && (read.is !== 'value' || source !== read.value)) notes.keep('key', source);
    if (beside['config_name'] !== undefined) notes.keep('config_name', beside['config_name']);
    return read;
  },
  // The older form has the part before the point in config_type.
  write: (its) => [its, its.replace(/^[^.]*\./, '')],
};

const category: Codec<string> = {
  ...textCodec,
  read(source, { beside }) {
    const its = keyOf(beside) ?? '';
    const dot = its.indexOf('.');
    const stated = [source, beside['config_type']].find(isFilled);
    return value((stated ?? (dot > 0 ? its.slice(0, dot) : 'general')).replaceAll('\u0000', ''));
  },
};

const hasValue = (document: Document): boolean => Object.hasOwn(document, 'value');

const setting: Codec<Json> = {
  name: 'json',
  type: 'jsonb',
  bson: ['object', 'string', 'double', 'int', 'bool', 'array'],
  keeps: 'itself',
  read(_, { beside, notes }) {
    const field = hasValue(beside) ? 'value' : 'config_value';
    const source = beside[field];
    if (source === null) notes.keep(field, null);
    if (source === undefined || source === null) return missing;
    const json = toJson(source, field, notes) as Json;
    keepBytes(notes, field, source, json);
    return value(json);
  },
  write: () => [],
};

export const appMetadata = table('app_metadata', {
  key: column(key)
    .required('key_not_null')
    .or('config_name', 'configName')
    .owns('config_name')
    .with('config_type')
    .unique({ rank: ['updated_at', 'created_at'] }),
  category: column(category).required().with('config_type', 'key', 'config_name').index(),
  value: column(setting)
    .or('config_value', 'configValue')
    .owns('config_value', (document) => !hasValue(document))
    .nullable(),
  description: text(),
  config_type: text().from('config_type', 'configType'),
  created_at: moment('created_at_valid').from('created_at', 'createdAt'),
  updated_at: moment('updated_at_valid').from('updated_at', 'updatedAt').nullable(),
  metadata: residual({ spread: 'metadata' }),
});

export default mapping('metadata', {
  aliases: ['system_config', 'configurations'],
  class: 'static',
  to: [
    appMetadata,
    files('configuration', { table: 'app_metadata', category: 'category', key: 'key', value: 'value' }),
  ],
  skip: isMarker,
  accessPatterns: ['by key=', 'of one category: category='],
  mainRead: { by: ['key', 'key'] },
  queries: settingQueries,
});
