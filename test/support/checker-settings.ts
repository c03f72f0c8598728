// What the checker expects of metadata, system_config and configurations.
import { field, moments, table, texts, type Expectation } from './checker-target.ts';
import { equal, sameJson, text } from './checker-values.ts';

const filled = (value: unknown): value is string => typeof value === 'string' && value.trim() !== '';

export const metadata: Expectation = {
  mapping: 'metadata',
  sources: ['metadata', 'system_config', 'configurations'],
  target: 'app_metadata',
  spellings: ['configType', 'configName', 'configValue', 'createdAt', 'updatedAt'],
  load: table('app_metadata', ['key', 'category', 'value', 'description', 'config_type'], ['created_at', 'updated_at']),
  fields(document) {
    const { key: own, config_type: type, config_name: name, category } = document;
    const key = filled(own) ? own : [type, name].filter(filled).join('.');
    const dot = key.indexOf('.');
    return [
      field('key', equal, text(key)),
      field('category', equal, text([category, type].find(filled) ?? (dot > 0 ? key.slice(0, dot) : 'general'))),
      field('value', sameJson, 'value' in document ? document['value'] : document['config_value']),
      ...texts(document, ['description', 'config_type']),
      ...moments(document, ['created_at', 'updated_at']),
    ];
  },
};
