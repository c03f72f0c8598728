// analysis_results and analysis_reports -> MongoDB analysis_results_optimized: documents that no field says, made and unmade by code of their own.
import { sourceIdOf } from '../../core/identity.ts';
import type { CollectionTarget } from '../../stores/mongodb/target.ts';
import today from '../collections/analysis-results.ts';
import type { Settings } from '../language/codec.ts';
import { collection, mapping } from '../language/declare.ts';
import type { Document } from '../mapping.ts';
import type { TransformSettings } from '../settings.ts';
import { putDocument } from '../way-back.ts';
import { zoneOf } from './codecs.ts';

const [target] = today.targets as readonly CollectionTarget[];
const { name, schema, indexes } = target!;

const settingsIn = (settings: Settings): TransformSettings => ({
  zone: zoneOf(settings),
  providers: (settings['providers'] ?? []) as readonly string[],
  asOf: settings.asOf,
});

export default mapping('analysis_results', {
  aliases: today.aliases,
  class: 'historical',
  after: today.after,
  to: collection(name, {
    schema,
    indexes,
    otherNames: today.otherNames,
    // The code that makes these documents and takes them apart stands with the mapping of today until it goes.
    get: (document, { notes, settings }) =>
      today.transform(document, notes, settingsIn(settings))[name]![0] as Document,
    put(wanted, old, settings) {
      const { bytes, unsaid, refused } = putDocument(
        today,
        sourceIdOf(old),
        old,
        { [name]: [wanted] },
        settingsIn(settings),
      );
      return { bytes, unrepresentable: unsaid, ...(refused && { refused }) };
    },
  }),
  skip: (document) => today.skip(document),
  accessPatterns: today.accessPatterns,
  ...(today.mainRead && { mainRead: today.mainRead }),
  queries: today.queries,
});
