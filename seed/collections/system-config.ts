// system_config: the deployment scripts' settings, key and value without a category.
import { systemConfigCases } from '../cases/metadata.ts';
import type { CollectionSeed } from '../shape.ts';
import { value } from './metadata.ts';

const NAMES = ['max_concurrent_tasks', 'enable_realtime_pe_pb', 'default_market', 'cache_ttl'] as const;

export const systemConfig: CollectionSeed = {
  collection: 'system_config',
  mapping: 'metadata',
  batch: 500,
  cases: systemConfigCases,
  document: ({ id, index, moment, random }) => ({
    _id: id,
    key: `${random.pick(NAMES)}_${index}`,
    value: value(random),
    description: '最大并发分析任务数',
    updated_at: new Date(moment.time),
  }),
};
