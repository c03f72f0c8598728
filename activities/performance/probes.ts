// What is asked: the queries a mapping declares, with parameters taken from documents of the source. They stay in this process.
import { decode } from '../../core/bson/decode.ts';
import type { Mapping } from '../../mappings/mapping.ts';
import type { ApplicationQuery, Questions } from '../../mappings/query.ts';
import type { TransformSettings } from '../../mappings/settings.ts';
import { transformDocument, withFirstNames } from '../../mappings/transform.ts';
import { weigh } from '../../stores/mongodb/ranges.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { sampleOf } from '../../stores/mongodb/source.ts';
import type { Resources } from '../resources.ts';

/** A question, and the collection of the old system it goes to. */
export interface Asked extends Questions {
  readonly source: string;
}

export interface Probe {
  readonly mapping: Mapping;
  readonly query: ApplicationQuery;
  /** Empty: no sampled document asks this. */
  readonly questions: readonly Asked[];
}

/** A probe per query of the mapping, with at most `samples` questions each. Documents that do not load ask nothing. */
export async function probesOf(
  resources: Resources,
  mapping: Mapping,
  samples: number,
  transform: TransformSettings,
): Promise<Probe[]> {
  if (mapping.queries.length === 0) return [];
  const questions = new Map<ApplicationQuery, Asked[]>(mapping.queries.map((query) => [query, []]));
  const there = new Set(await collectionNames(resources.source.db));
  const sources = [];
  for (const source of [mapping.collection, ...mapping.aliases].filter((one) => there.has(one)))
    sources.push({ source, ...(await weigh(resources.source.db, source)) });
  const documents = sources.reduce((sum, one) => sum + one.documents, 0);
  for (const { source, documents: own, averageBytes } of sources) {
    // Twice as many: some are dirty, some ask only some of the queries.
    const size = Math.min(own, Math.ceil((2 * samples * own) / Math.max(1, documents)));
    if (size === 0) continue;
    for await (const raw of sampleOf(resources.source.db, source, size, averageBytes)) {
      const document = decode(raw);
      const result = transformDocument(mapping, document, transform);
      if (result.state !== 'loaded') continue;
      const named = withFirstNames(mapping, document);
      for (const [query, asked] of questions) {
        if (asked.length >= samples) continue;
        const both = query.ask(named, result.outcome);
        if (both) asked.push({ ...both, source });
      }
    }
  }
  return mapping.queries.map((query) => ({ mapping, query, questions: questions.get(query)! }));
}
