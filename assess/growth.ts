// How fast a collection grows, from the times its own documents tell: their ids, and the fields that are dates.
import { readInstant } from '../mappings/fields/instant.ts';
import type { Document } from '../mappings/mapping.ts';

const fields = ['timestamp', 'created_at', 'createdAt', '_created_at', 'trade_date', 'updated_at'] as const;
const day = 86_400_000;

export interface Growth {
  readonly documentsPerDay: number;
  readonly bytesPerDay: number;
  /** What the times were read from: `_id`, or the name of a field. */
  readonly from: string;
}

/** Collects the earliest and latest time of each source of times; the first source that nearly every document has decides. */
export class GrowthMeter {
  readonly #zone: string;
  readonly #spans = new Map<string, { count: number; from: number; to: number }>();
  #sampled = 0;

  constructor(zone: string) {
    this.#zone = zone;
  }

  add(document: Document): void {
    this.#sampled++;
    const id = document['_id'] as { _bsontype?: string; getTimestamp?: () => Date } | null;
    if (id?._bsontype === 'ObjectId') this.#see('_id', id.getTimestamp!().getTime());
    for (const field of fields) {
      const read = readInstant(document[field], this.#zone);
      if (read) this.#see(field, read.micros / 1000);
    }
  }

  #see(source: string, time: number): void {
    const span = this.#spans.get(source) ?? { count: 0, from: Infinity, to: -Infinity };
    this.#spans.set(source, { count: span.count + 1, from: Math.min(span.from, time), to: Math.max(span.to, time) });
  }

  result(documents: number, averageBytes: number): Growth | undefined {
    for (const [from, span] of this.#spans) {
      const days = (span.to - span.from) / day;
      if (span.count < this.#sampled * 0.9 || days < 1) continue;
      return { documentsPerDay: documents / days, bytesPerDay: (documents * averageBytes) / days, from };
    }
    return undefined;
  }
}
