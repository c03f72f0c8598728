// The dirt of metadata, system_config and configurations (cases 72-74 and what every collection has).
import { Double, Int32 } from 'bson';
import { sourceId } from '../../core/identity.ts';
import type { Dirt, DirtyCase } from '../shape.ts';
import { START } from '../time.ts';
import { become, change, loaded, marker, quarantined, remove, set } from './catalogue.ts';

const olderTwin: Dirt = (document, place) => {
  const other = place.anchor();
  const old = new Date(START - 30 * 86_400_000);
  document['key'] = other['key'];
  if ('category' in other) document['category'] = other['category'];
  if ('created_at' in document) document['created_at'] = old;
  document['updated_at'] = old;
  return { field: 'clashes_with', value: sourceId(other._id) };
};

/** Never a real one; what matters is that it shows up nowhere in clear. */
const SECRET = 'sk-not-a-real-key-7f3a9c';

const shared: readonly DirtyCase[] = [
  quarantined(61, 'key missing', 'key_not_null', remove('key')),
  quarantined(61, 'key null', 'key_not_null', set('key', null)),
  quarantined(61, 'key of a newer one', 'key_unique', olderTwin),
  loaded(45, 'NUL in the value', set('value', 'before\u0000after')),
  loaded(46, 'NaN in the value', set('value', { 'a.b': new Double(NaN), list: [new Double(Infinity)] })),
  loaded(66, 'updated_at text', set('updated_at', '2025-07-01T08:00:00')),
  loaded(66, 'updated_at null', set('updated_at', null)),
  loaded(70, 'keys with dots and dollars', set('value', { 'gpt-4.1': 1, $note: 'dollar key' })),
  loaded(73, 'api_key in the value', set('value', { provider: 'dashscope', api_key: SECRET, api_secret: SECRET })),
  marker('Application configurations'),
];

/** A whole version of the system's configuration, kept among the settings. */
const version =
  (number: unknown, active: unknown): Dirt =>
  (document, { index, moment }) =>
    become(document, {
      config_name: `版本_${index}`,
      config_type: 'system',
      config_value: {
        llm_configs: [
          {
            provider: 'siliconflow',
            model_name: 'Pro/x',
            api_key: '',
            input_price_per_1k: new Double(2),
            temperature: new Double(0.7),
          },
        ],
        system_settings: { max_concurrent_tasks: 3, app_timezone: 'Asia/Shanghai' },
      },
      created_at: new Date(moment.time),
      updated_at: new Date(moment.time),
      version: number,
      is_active: active,
    });

export const metadataCases: readonly DirtyCase[] = [
  ...shared,
  loaded(73, 'the key itself is a secret', (document, { index }) => {
    document['key'] = `dashscope_api_key_m${index}`;
    document['value'] = SECRET;
  }),
  loaded(74, 'flag blanked', set('value', { has_api_key: '', migrated_at: '2025-10-20T08:41:49.742000' })),
];

export const systemConfigCases: readonly DirtyCase[] = [...shared, loaded(74, 'value blanked', set('value', ''))];

export const configurationCases: readonly DirtyCase[] = [
  ...shared,
  loaded(72, 'active version', version(new Int32(55), true)),
  loaded(72, 'second active version', version(new Int32(51), true)),
  loaded(72, 'version as text', version('18', false)),
  loaded(
    74,
    'created_at naive text',
    change('created_at', () => '2025-10-20T08:41:49.742000'),
  ),
];
