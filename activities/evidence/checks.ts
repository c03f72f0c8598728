// Whether what was migrated is still there and still right: random keys, the sweep's suspects and what was found before, each compared anew.
import { setTimeout as sleep } from 'node:timers/promises';
import { idsKnown } from '../../control/long-keys.ts';
import type { CollectionEvidence } from '../../core/evidence.ts';
import { KnownFailure } from '../../core/failures.ts';
import type { Mapping } from '../../mappings/mapping.ts';
import type { TransformSettings } from '../../mappings/settings.ts';
import { readDocuments } from '../../stores/mongodb/source.ts';
import { weigh } from '../../stores/mongodb/ranges.ts';
import { query } from '../../stores/postgres/connection.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import { atOnce, bytesAtOnce, compareBatch, type Finding } from '../compare.ts';
import { catchingUp } from '../capture/caught-up.ts';
import type { Resources } from '../resources.ts';
import { digestOf } from '../shape.ts';
import { lookOnceMore, nowAtSource } from '../settled.ts';
import type { Enrolled, LedgerKey } from './keys.ts';
import { deficit, sweep } from './sweep.ts';

export type Validation = CollectionEvidence['validation'];

/** Documents known to differ, per source collection: beyond, no more are noted. */
const mostKnown = 500;
/** How long change capture may take to pass what differs, ms. */
const patienceMs = 2000;

/** `random`: loaded documents drawn at random. Never counts what change capture has still to bring. */
export async function check(
  resources: Resources,
  mapping: Mapping,
  enrolled: readonly Enrolled[],
  random: readonly LedgerKey[],
  transform: TransformSettings,
  heartbeat: () => void,
): Promise<Validation> {
  let checked = 0;
  let failed = 0;
  let evicted = 0;
  const known = { missing: 0, corrupted: 0 };
  const left: string[] = [];
  /** What takes too long in a large table is left out and said; documents are compared all the same. */
  const orLeave = async <T>(work: Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      left.push(unchecked(error));
      return otherwise;
    }
  };
  for (const one of enrolled) {
    heartbeat();
    const drawn = new Set(random.filter((key) => key.collectionId === one.id).map((key) => key.id));
    const suspects = await orLeave(sweep(resources, mapping, one), []);
    const before = await knownOf(resources, one);
    const ids = [...new Set([...drawn, ...suspects, ...before])];
    const { differing, evicted: absent } = await differingOf(resources, mapping, one, ids, transform, heartbeat);
    evicted += absent;
    checked += drawn.size;
    failed += differing.filter((finding) => drawn.has(finding.record_id)).length;
    await note(resources, one, before, differing);
    for (const finding of differing.slice(0, mostKnown)) known[kindOf(finding)]++;
  }
  const missing = Math.max(known.missing, await orLeave(deficit(resources, mapping, enrolled), 0));
  return {
    checked,
    failed,
    missing,
    corrupted: known.corrupted,
    ...(evicted > 0 && { evicted }),
    ...(left.length > 0 && { unchecked: left.join('; ') }),
  };
}

const kindOf = (finding: Finding) => (finding.status === 'missing_in_new_system' ? 'missing' : 'corrupted');

async function knownOf(resources: Resources, { id }: Enrolled): Promise<string[]> {
  const rows = await query<{ source_id: string }>(
    resources.postgres,
    'reading known differences',
    'select source_id from migration_control.divergences where collection_id = $1',
    [id],
  );
  return rows.map((row) => row.source_id);
}

/** What is well again goes, what is new comes; the time of what stays is that of its discovery. */
async function note(
  resources: Resources,
  { id }: Enrolled,
  before: readonly string[],
  differing: readonly Finding[],
): Promise<void> {
  const now = differing.slice(0, mostKnown);
  if (before.length === 0 && now.length === 0) return;
  await query(
    resources.postgres,
    'noting differences',
    `with now as (select * from unnest($2::text[], $3::text[]) as n (source_id, kind)),
          well as (delete from migration_control.divergences d where collection_id = $1 and source_id = any($4) and not exists (select 1 from now where now.source_id = d.source_id))
     insert into migration_control.divergences (collection_id, source_id, kind) select $1, source_id, kind from now
     on conflict (collection_id, source_id) do update set kind = excluded.kind`,
    [id, now.map((one) => one.record_id), now.map(kindOf), before],
  );
}

/** Of `ids`, those that differ with nothing under way that would explain it; and keys of any that are not in Redis. */
async function differingOf(
  resources: Resources,
  mapping: Mapping,
  one: Enrolled,
  ids: readonly string[],
  transform: TransformSettings,
  heartbeat: () => void,
): Promise<{ readonly differing: Finding[]; readonly evicted: number }> {
  const compare = (some: readonly string[]) => compareKeys(resources, mapping, one, some, transform, heartbeat);
  const { differing: suspects, evicted } = await compare(ids);
  if (suspects.length === 0) return { differing: [], evicted };
  const { differing: again } = await compare(suspects.map(({ finding }) => finding.record_id));
  const sure = again.filter((found) => found.settled).map((found) => found.finding);
  const rest = again.filter((found) => !found.settled).map((found) => found.finding.record_id);
  // Not applied yet, or waiting for a row it refers to: only what capture has passed and not mended counts.
  const passed = (version?: string) => caughtUp(resources, heartbeat, version);
  const left: Finding[] = [];
  for (const some of await inBatches(resources, one, rest)) {
    const look = await lookOnceMore(resources, mapping, one, some, transform, passed);
    if (!look) break;
    left.push(...look.differing.filter((finding) => !look.changing.has(finding.record_id)));
  }
  return { differing: [...sure, ...left], evicted };
}

async function caughtUp(resources: Resources, heartbeat: () => void, asked?: string): Promise<boolean> {
  const version = asked ?? (await nowAtSource(resources));
  const isCaughtUp = catchingUp(resources, version);
  for (const until = Date.now() + patienceMs; Date.now() < until; await sleep(100)) {
    heartbeat();
    if (await isCaughtUp()) return true;
  }
  return false;
}

interface Compared {
  readonly finding: Finding;
  /** The ledger holds exactly this document, before and after: what differs is no matter of timing. */
  readonly settled: boolean;
}

/** Those that differ, and how many keys of all of them are not in Redis. A document that the source no longer has is left to its delete. */
async function compareKeys(
  resources: Resources,
  mapping: Mapping,
  one: Enrolled,
  ids: readonly string[],
  transform: TransformSettings,
  heartbeat: () => void,
): Promise<{ readonly differing: Compared[]; readonly evicted: number }> {
  const { client, db } = resources.source;
  const references = referenceColumns(mapping);
  const differing: Compared[] = [];
  let evicted = 0;
  for (const some of await inBatches(resources, one, ids)) {
    heartbeat();
    const { documents } = await readDocuments(client, db, one.source, await idsKnown(resources.postgres, some));
    const before = await appliedOf(resources, one, documents);
    const findings = await compareBatch(resources, mapping, one.id, [...documents.values()], transform);
    for (const finding of findings) evicted += finding.evicted ?? 0;
    const odd = findings.filter((finding) => finding.status !== 'match');
    if (odd.length === 0) continue;
    const after = await appliedOf(resources, one, documents, { atRest: true });
    for (const finding of odd) {
      const id = finding.record_id;
      const refers = (finding.differs ?? []).some((place) => references.has(place));
      differing.push({ finding, settled: before.has(id) && after.has(id) && !refers });
    }
  }
  return { differing, evicted };
}

async function inBatches(resources: Resources, { source }: Enrolled, ids: readonly string[]): Promise<string[][]> {
  if (ids.length === 0) return [];
  const { averageBytes } = await weigh(resources.source.db, source);
  const size = Math.max(1, Math.min(atOnce, Math.floor(bytesAtOnce / Math.max(1, averageBytes))));
  return Array.from({ length: Math.ceil(ids.length / size) }, (_, i) => ids.slice(i * size, (i + 1) * size));
}

/** Columns that follow another row: it may have come or gone a moment ago. */
const referenceColumns = (mapping: Mapping): Set<string> =>
  new Set(
    mapping.targets
      .filter((target): target is TableTarget => target.store === 'postgres')
      .flatMap((target) =>
        Object.entries(target.columns).flatMap(([column, its]) => (its.references ? [`${target.name}.${column}`] : [])),
      ),
  );

/**
 * Of `documents`, those of which the ledger says that this very image has been applied. `atRest`: none that a transaction is changing, which holds
 * the ledger's row locked and may have written to other stores already.
 */
async function appliedOf(
  resources: Resources,
  { id }: Enrolled,
  documents: ReadonlyMap<string, Uint8Array>,
  { atRest } = { atRest: false },
): Promise<Set<string>> {
  const rows = await query<{ source_id: string; source_digest: string }>(
    resources.postgres,
    'reading the ledger',
    `select source_id, source_digest from migration_control.ledger where collection_id = $1 and source_id = any($2) and state = 'l' and not deleted
     ${atRest ? 'for share skip locked' : ''}`,
    [id, [...documents.keys()]],
  );
  return new Set(
    rows
      .filter((row) => digestOf(documents.get(row.source_id)!) === BigInt(row.source_digest))
      .map((row) => row.source_id),
  );
}

/** Why a check could not be made, where the store is to blame; anything else is thrown. */
export function unchecked(error: unknown): string {
  if (!(error instanceof KnownFailure) || error.type === 'Defect') throw error;
  return error.message;
}
