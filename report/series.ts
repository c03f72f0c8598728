// Points of the charts from slots of time. Pure.
import type { Collected } from './collect.ts';
import type { Series } from './shape.ts';

export function seriesOf(read: Collected): Series {
  return {
    copy: copyOf(read),
    lag: (read.capture?.lag ?? []).map(({ at, p50, most, events }) => ({
      at: at.toISOString(),
      p50Ms: Math.max(0, p50),
      mostMs: Math.max(0, most),
      events,
    })),
    latency: latencyOf(read),
    routes: routesOf(read),
    differences: read.differenceSlots.map(({ at, differing, missing, corrupted, defects }) => ({
      at: at.toISOString(),
      differing,
      missing,
      corrupted,
      shadowDefects: defects,
    })),
  };
}

/** Each collection's line begins with nothing, where its first batch began. */
function copyOf({ copySlots, copied }: Collected): Series['copy'] {
  return copied.map(({ collection, first }) => {
    let documents = 0;
    const points = copySlots
      .filter((slot) => slot.collection === collection)
      .map((slot) => ({ at: slot.at.toISOString(), documents: (documents += slot.documents) }));
    return { collection, points: [{ at: first.toISOString(), documents: 0 }, ...points] };
  });
}

function latencyOf({ sideSlots }: Collected): Series['latency'] {
  const source = sideSlots.some((slot) => slot.source === 'traffic' && slot.reads > 0) ? 'traffic' : 'probes';
  const byTime = new Map<string, Series['latency'][number]>();
  for (const slot of sideSlots) {
    if (slot.source !== source) continue;
    const at = slot.at.toISOString();
    const known = byTime.get(at) ?? { at, source, oldMs: null, newMs: null, oldP95Ms: null, newP95Ms: null };
    byTime.set(
      at,
      slot.side === 'old'
        ? { ...known, oldMs: slot.mean, oldP95Ms: slot.p95 }
        : { ...known, newMs: slot.mean, newP95Ms: slot.p95 },
    );
  }
  return [...byTime.values()].filter((one) => one.oldMs !== null || one.newMs !== null);
}

/** What each change of the routing left, per collection. A change that names no write mode leaves it as it was. */
function routesOf({ moves }: Collected): Series['routes'] {
  const lines = new Map<string, Series['routes'][number]['points']>();
  for (const { at, action, detail } of moves) {
    const { collections, percentage, writeMode } = detail;
    if (action === 'fence' || !Array.isArray(collections) || typeof percentage !== 'number') continue;
    for (const collection of collections.map(String)) {
      const points = lines.get(collection) ?? [];
      const writes = typeof writeMode === 'string' ? writeMode : (points.at(-1)?.writes ?? 'old');
      lines.set(collection, [...points, { at: at.toISOString(), percentage, writes }]);
    }
  }
  const alike = new Map<string, Series['routes'][number]>();
  for (const [collection, points] of [...lines].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const key = JSON.stringify(points);
    alike.set(key, { collections: [...(alike.get(key)?.collections ?? []), collection], points });
  }
  return [...alike.values()];
}
