// metadata, system_config and configurations -> PostgreSQL app_metadata, and one JSON file per category.
import { z } from 'zod';
import { quarantine } from '../../core/quarantine.ts';
import { files } from '../../stores/files/target.ts';
import { jsonb, table, text, timestamptz } from '../../stores/postgres/target.ts';
import { readInstant } from '../fields/instant.ts';
import { toJson } from '../fields/json.ts';
import { isMarker } from '../fields/marker.ts';
import { optionalMoment, sortable } from '../fields/moment.ts';
import { residual } from '../fields/residual.ts';
import { cleanText, optionalText } from '../fields/text.ts';
import { defineMapping, type Document, type Outcome } from '../mapping.ts';
import { find, sql } from '../query.ts';
import { defaultSettings } from '../settings.ts';
import { as } from '../shape.ts';

const columns = new Set([
  'key',
  'value',
  'category',
  'description',
  'config_type',
  'config_name',
  'config_value',
  'created_at',
  'updated_at',
]);

export default defineMapping({
  collection: 'metadata',
  aliases: ['system_config', 'configurations'],
  class: 'static',
  shape: z.looseObject({
    _id: as.any,
    key: as.text.optional(),
    value: as.any,
    category: as.text.optional(),
    description: as.text.optional(),
    config_type: as.text.optional(),
    config_name: as.text.optional(),
    config_value: as.any,
    created_at: as.date.optional(),
    updated_at: as.date.nullish(),
  }),
  otherNames: {
    configType: 'config_type',
    configName: 'config_name',
    configValue: 'config_value',
    createdAt: 'created_at',
    updatedAt: 'updated_at',
  },
  targets: [
    table('app_metadata', {
      columns: {
        key: text({ notNull: true }),
        category: text({ notNull: true }),
        value: jsonb(),
        description: text(),
        config_type: text(),
        created_at: timestamptz(),
        updated_at: timestamptz(),
        metadata: jsonb(),
      },
      unique: [['key']],
      indexes: [['category']],
    }),
    files('configuration', { table: 'app_metadata', category: 'category', key: 'key', value: 'value' }),
  ],
  skip: isMarker,
  unique: [{ rule: 'key_unique', path: 'key', key: keyOf, rank }],
  transform(document, notes, { zone }) {
    const key = keyOf(document);
    if (key === undefined) quarantine('key_not_null', 'key', 'key is missing, and there is no config_name either');
    const field = 'value' in document ? 'value' : 'config_value';
    const rest =
      field === 'value' && 'config_value' in document
        ? { ...document, configured_value: document['config_value'] }
        : document;
    const row = {
      key: cleanText(key, 'key', notes),
      category: category(document, key),
      value: document[field] === undefined || document[field] === null ? null : toJson(document[field], field, notes),
      description: optionalText(document['description'], 'description', notes),
      config_type: optionalText(document['config_type'], 'config_type', notes),
      created_at: optionalMoment(document, 'created_at', notes, zone, 'created_at_valid'),
      updated_at: optionalMoment(document, 'updated_at', notes, zone, 'updated_at_valid'),
    };
    for (const name of ['key', 'category', 'config_name'])
      if (document[name] !== undefined && document[name] !== row[name as 'key']) notes.keep(name, document[name]);
    if (document[field] === null) notes.keep(field, null);
    return { app_metadata: [{ ...row, metadata: residual(rest, columns, notes) }] };
  },
  back: {
    fields: { key: ['key', 'config_name'], value: ['value', 'config_value'], category: ['category'] },
    // The older form has the part before the point in config_type.
    values: { key: (key) => [key, String(key).replace(/^[^.]*\./, '')] },
    kept: { configured_value: 'config_value' },
  },
  rules: [
    { name: 'key_not_null', sql: `select count(*) from app_metadata where key is null or key = ''` },
    {
      name: 'key_unique',
      sql: 'select count(*) from (select 1 from app_metadata group by key having count(*) > 1) twice',
    },
  ],
  values: [{ table: 'app_metadata', column: 'metadata', json: ['object'] }],
  accessPatterns: ['by key=', 'of one category: category='],
  mainRead: { by: ['key', 'key'] },
  queries: [
    {
      name: 'setting',
      asks: 'by key=',
      index: { target: 'app_metadata', keys: ['key'] },
      ask: (document, outcome) =>
        document['key'] === undefined
          ? undefined
          : {
              old: find({ key: document['key'] }, { limit: 1 }),
              new: sql('select value from app_metadata where key = $1', settingOf(outcome).key),
            },
    },
    {
      name: 'settings_of_category',
      asks: 'of one category: category=',
      index: { target: 'app_metadata', keys: ['category'] },
      ask: (document, outcome) =>
        document['category'] === undefined
          ? undefined
          : {
              old: find({ category: document['category'] }),
              new: sql('select key, value from app_metadata where category = $1', settingOf(outcome).category),
            },
    },
  ],
});

const settingOf = (outcome: Outcome) => outcome['app_metadata']![0] as { key: string; category: string };

const filled = (value: unknown): value is string =>
  typeof value === 'string' && value.replaceAll('\u0000', '').trim() !== '';

/** `key`, or `config_type.config_name` of the older form. */
function keyOf(document: Document): string | undefined {
  if (filled(document['key'])) return document['key'];
  if (!filled(document['config_name'])) return undefined;
  return filled(document['config_type'])
    ? `${document['config_type']}.${document['config_name']}`
    : document['config_name'];
}

function category(document: Document, key: string): string {
  const stated = [document['category'], document['config_type']].find(filled);
  const dot = key.indexOf('.');
  return (stated ?? (dot > 0 ? key.slice(0, dot) : 'general')).replaceAll('\u0000', '');
}

/** The newest setting keeps a key that two documents claim. */
function rank(document: Document): string {
  return ['updated_at', 'created_at']
    .map((field) => sortable(readInstant(document[field], defaultSettings.zone)?.micros))
    .join(' ');
}
