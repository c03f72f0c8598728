// metadata: settings by key, some with a category and some under the older config_type/config_name.
import { metadataCases } from '../cases/metadata.ts';
import type { Random } from '../random.ts';
import type { CollectionSeed, Document, Place } from '../shape.ts';

const CATEGORIES = ['features', 'ui', 'limits', 'notifications', 'market'] as const;

export const metadata: CollectionSeed = {
  collection: 'metadata',
  mapping: 'metadata',
  batch: 500,
  cases: metadataCases,
  document: (place) => (place.plain || place.random.chance(0.8) ? byKey(place, 'm') : byName(place, 'm')),
};

/** `scope` keeps the keys of the three collections apart: they end in one table. */
export function byKey({ id, index, moment: { time }, random }: Place, scope: string): Document {
  const category = random.pick(CATEGORIES);
  return {
    _id: id,
    key: `${category}.${scope}_${index}`,
    value: value(random),
    category,
    description: random.pick(['系统版本号', 'Enable market analysis features', '最大并发分析任务数 ⚙️']),
    created_at: new Date(time),
    updated_at: new Date(time),
  };
}

/** The form of the old initialisation scripts. */
export function byName({ id, index, moment: { time }, random }: Place, scope: string): Document {
  return {
    _id: id,
    config_type: random.pick(['cache', 'llm', 'ui']),
    config_name: `${scope}_settings_${index}`,
    config_value: {
      us_stock_data: 7200,
      china_stock_data: random.integer(60, 7200),
      models: { dashscope: 'qwen-plus' },
    },
    description: '缓存TTL配置',
    created_at: new Date(time),
    updated_at: new Date(time),
  };
}

export function value(random: Random): unknown {
  return random.pick<unknown>([
    true,
    false,
    3,
    100,
    'v1.0.0-preview',
    '中文',
    { enabled: true, limit: random.integer(1, 99) },
    ['a', 'b'],
  ]);
}
