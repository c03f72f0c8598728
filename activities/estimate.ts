// How long it may take, before it is begun: the strategy's formula.
import type { Settings } from '../core/settings.ts';
import { weigh } from '../stores/mongodb/ranges.ts';
import { planCollections } from './plan.ts';
import type { Resources } from './resources.ts';

/** The strategy's conservative speeds (its section 1.2). */
export const strategySpeed = {
  documentsPerSecond: 1000,
  gigabytesPerHour: 10,
  parallelWorkers: 4,
  buffer: 1.5,
} as const;

export interface Estimate {
  readonly total_documents: number;
  readonly total_size_gb: number;
  readonly estimated_migration_hours: number;
  readonly parallel_workers: number;
  readonly recommended_window: string;
  readonly documents: Record<string, number>;
}

export function strategyEstimate(documents: number, gigabytes: number) {
  const hours = Math.max(
    documents / strategySpeed.documentsPerSecond / 3600,
    gigabytes / strategySpeed.gigabytesPerHour,
  );
  return {
    total_documents: documents,
    total_size_gb: gigabytes,
    estimated_migration_hours: hours,
    parallel_workers: strategySpeed.parallelWorkers,
    recommended_window: `${(hours * strategySpeed.buffer).toFixed(1)} hours`,
  };
}

export async function estimate(resources: Resources, settings: Settings): Promise<Estimate> {
  const plans = await planCollections(resources, settings);
  let bytes = 0;
  for (const source of plans.flatMap((plan) => plan.sources)) bytes += (await weigh(resources.source.db, source)).bytes;
  const documents = Object.fromEntries(plans.map((plan) => [plan.collection, plan.documents]));
  const total = plans.reduce((sum, plan) => sum + plan.documents, 0);
  return { ...strategyEstimate(total, bytes / 1024 ** 3), documents };
}
