// Explain: everything that is known of one document, from its versions to every row, document, key and file it became. Reads only.
import { shownId } from '../activities/lost.ts';
import type { Resources } from '../activities/resources.ts';
import {
  casesOf,
  earlierVersions,
  entriesOf,
  routingOf,
  waitingOf,
  type LedgerEntry,
  type QuarantineCase,
  type Routed,
  type SeenVersion,
  type Waiting,
} from '../control/lineage.ts';
import { learnLongKeys } from '../control/long-keys.ts';
import { idsFrom, sourceIdsOf, type Reading } from '../core/identity.ts';
import type { Mapping } from '../mappings/mapping.ts';
import { collectionNames } from '../stores/mongodb/schema.ts';
import { wrongDatabase } from '../stores/mongodb/surroundings.ts';
import { idsAmong } from '../stores/mongodb/source.ts';
import { landedOf, type Landed } from './landed.ts';
import { verifiedOf, type Verified } from './verification.ts';

export interface Explanation {
  /** Name of the mapping. */
  readonly collection: string;
  /** The source collection it stands in. */
  readonly source: string;
  readonly sourceId: string;
  /** What the id that was asked for was taken for: `objectId`, `string`, `int`, ... */
  readonly takenFor: string | null;
  readonly state: SeenVersion['state'];
  /** In a sentence. */
  readonly answer: string;
  readonly version: SeenVersion;
  /** Versions that this one has replaced, newest first. */
  readonly earlier: readonly SeenVersion[];
  /** Of the mapping: which version judged the document, and which this checkout has. */
  readonly mapping: { readonly document: number; readonly current: number };
  readonly targets: readonly Landed[];
  readonly verified: Verified;
  readonly quarantine: readonly QuarantineCase[];
  readonly waiting: Waiting;
  readonly routing: Routed | null;
  /** Other documents that the same text may mean, or the same id in another source collection. */
  readonly others: readonly {
    readonly source: string;
    readonly sourceId: string;
    readonly state: SeenVersion['state'];
  }[];
}

/** Nothing of it stands in the ledger. */
export interface Unknown {
  readonly collection: string;
  readonly state: 'not arrived' | 'never seen';
  readonly answer: string;
  /** Where the source has it. */
  readonly sources: readonly { readonly source: string; readonly sourceId: string }[];
  /** What the id was tried as. */
  readonly tried: readonly Reading[];
}

/** The mapping a name means: its own, or that of one of its source collections. */
export function mappingFor({ mappings }: Pick<Resources, 'mappings'>, collection: string): Mapping | undefined {
  return mappings.get(collection) ?? [...mappings.values()].find((mapping) => mapping.aliases.includes(collection));
}

/** `text`: the id as a person has it. */
export async function explainDocument(
  resources: Resources,
  mapping: Mapping,
  collection: string,
  text: string,
): Promise<Explanation | Unknown> {
  await learnLongKeys(resources.postgres, [text.trim()]);
  const tried = sourceIdsOf(text);
  const ids = tried.map((reading) => reading.sourceId);
  const entries = await entriesOf(resources.postgres, collection, ids);
  const [entry, ...others] = entries;
  if (!entry) return unknown(resources, mapping, tried);
  const takenFor = tried.find((reading) => reading.sourceId === entry.sourceId)!.as;
  return explainEntry(resources, mapping, entry, others, takenFor);
}

export async function explainEntry(
  resources: Resources,
  mapping: Mapping,
  entry: LedgerEntry,
  others: readonly LedgerEntry[] = [],
  takenFor: string | null = null,
): Promise<Explanation> {
  const { postgres } = resources;
  const quarantine = await casesOf(postgres, entry);
  const targets = await landedOf(resources, mapping, entry);
  const { collection, source, sourceId: id, version } = entry;
  return {
    collection,
    source,
    sourceId: id,
    takenFor,
    state: version.state,
    answer: sentence(entry, targets, quarantine),
    version,
    earlier: await earlierVersions(postgres, entry),
    mapping: { document: version.mappingVersion, current: mapping.version },
    targets,
    verified: await verifiedOf(postgres, entry),
    quarantine,
    waiting: shown(mapping, await waitingOf(postgres, entry)),
    routing: await routingOf(postgres, collection),
    others: others.map((one) => ({ source: one.source, sourceId: one.sourceId, state: one.version.state })),
  };
}

function sentence(entry: LedgerEntry, targets: readonly Landed[], quarantine: readonly QuarantineCase[]): string {
  const { state, at, rule } = entry.version;
  const open = quarantine.find((one) => one.resolvedAt === null);
  switch (state) {
    case 'deleted':
      return `Deleted in the source at ${at}; nothing of it is in the targets.`;
    case 'skipped':
      return `Skipped by the rule ${rule ?? 'of its mapping'}: it is no data, and was not meant to be loaded.`;
    case 'quarantined':
      return `Set aside by the rule ${open?.rule ?? rule ?? 'unknown'}${open?.path ? ` at ${open.path}` : ''}: ${open?.message ?? 'its entry is not there any more'}.`;
    case 'loaded': {
      const absent = targets.filter((one) => one.store === 'mongodb' && one.document === null);
      const rows = targets.length - absent.length;
      return rows === 0
        ? 'The ledger has it as loaded, and yet nothing of it is in the targets: somebody else has removed it. `causeway repair` does not see this, `causeway verify` does.'
        : `Loaded: it stands in ${[...new Set(targets.map(placeOf))].join(', ')}.`;
    }
  }
}

const placeOf = (one: Landed): string => {
  if (one.store === 'postgres') return one.table;
  if (one.store === 'mongodb') return one.collection;
  return one.store === 'redis' ? `the key ${one.key}` : one.file;
};

async function unknown(resources: Resources, mapping: Mapping, tried: readonly Reading[]): Promise<Unknown> {
  const there = new Set(await collectionNames(resources.source.db));
  const ids = idsFrom(tried.map((reading) => reading.sourceId));
  const sources: { source: string; sourceId: string }[] = [];
  for (const source of [mapping.collection, ...mapping.aliases])
    if (there.has(source))
      for (const id of await idsAmong(resources.source.db, source, ids)) sources.push({ source, sourceId: id });
  const { collection } = mapping;
  if (sources.length > 0)
    return {
      collection,
      state: 'not arrived',
      answer: `The source has it, in ${sources.map((one) => one.source).join(' and ')}; it has not arrived yet. \`causeway capture status\` says how far behind the targets are.`,
      sources,
      tried,
    };
  const names = [...resources.mappings.values()].flatMap((one) => [one.collection, ...one.aliases]);
  if (!names.some((name) => there.has(name))) {
    const { client, db } = resources.source;
    const answer = `Never seen, and could not have been: ${await wrongDatabase(db, client, new Set(names))}`;
    return { collection, state: 'never seen', answer, sources, tried };
  }
  return {
    collection,
    state: 'never seen',
    answer: `Never seen: neither the source nor the ledger has such an _id in ${[collection, ...mapping.aliases].join(', ')}. It was tried as ${tried.map((one) => one.as).join(', ')}.`,
    sources,
    tried,
  };
}

/** Who has the unique value, by a name that opens nothing. */
const shown = (mapping: Mapping, waiting: Waiting): Waiting => ({
  ...waiting,
  elections: waiting.elections.map((one) => ({ ...one, winner: one.winner && shownId(mapping, one.winner) })),
});
