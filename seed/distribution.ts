// How many documents each collection gets, and how many of them are dirty.
import { ANCHORS, CollectionPlan } from './collection-plan.ts';
import { catalogue } from './catalogue.ts';
import type { CollectionSeed } from './shape.ts';

interface Share {
  readonly of: number;
  readonly atMost?: number;
}

/** token_usage takes what the others leave, about 80 %. */
const shares: Readonly<Record<string, Share>> = {
  users: { of: 0.012, atMost: 12_000 },
  subscription_users: { of: 0.008, atMost: 8_000 },
  metadata: { of: 0.0008, atMost: 800 },
  system_config: { of: 0.0006, atMost: 600 },
  configurations: { of: 0.0006, atMost: 600 },
  analysis_results: { of: 0.008 },
  analysis_reports: { of: 0.012 },
  sessions: { of: 0.03 },
  user_sessions: { of: 0.02 },
  stock_daily_quotes: { of: 0.1 },
  usage_records: { of: 0.01 },
};

export interface Request {
  readonly documents: number;
  readonly dirty: number;
  readonly seed: number;
}

/** A plan for every collection. With little to give out, room for one of each dirty case comes first. */
export function distribute({ documents, dirty, seed }: Request): Map<string, CollectionPlan> {
  const counts = new Map<string, number>();
  let left = documents;
  for (const collection of catalogue) {
    const share = shares[collection.collection];
    if (!share) continue;
    const wanted = Math.min(Math.round(documents * share.of), share.atMost ?? Infinity);
    const count = Math.max(wanted, leastOf(collection, dirty));
    counts.set(collection.collection, count);
    left -= count;
  }
  return new Map(
    catalogue.map((collection) => {
      const count = counts.get(collection.collection) ?? Math.max(left, leastOf(collection, dirty));
      const bad = dirty > 0 ? Math.max(Math.round(count * dirty), collection.cases.length) : 0;
      return [collection.collection, new CollectionPlan(collection.collection, seed, count, bad)];
    }),
  );
}

/** Anchors, each case once, and where there are few documents a clean neighbour for every second case. */
function leastOf(collection: CollectionSeed, dirty: number): number {
  return ANCHORS + (dirty > 0 ? Math.ceil(collection.cases.length * 1.5) : 0);
}
