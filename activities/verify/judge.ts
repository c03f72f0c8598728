// Looks at single keys again, and judges only what stands still: read from the source, capture past the read, nothing newer in the ledger.
import { setTimeout as sleep } from 'node:timers/promises';
import { appliedVersion } from '../../control/capture.ts';
import { idsKnown } from '../../control/long-keys.ts';
import { refusedRule, sameIdRule } from '../../core/quarantine.ts';
import type { Suspect, Verdict } from '../../control/verification.ts';
import { readDocuments } from '../../stores/mongodb/source.ts';
import { name, query } from '../../stores/postgres/connection.ts';
import type { Reference, Row } from '../../stores/postgres/target.ts';
import type { Resolve } from './canonical.ts';
import { Expectation, type Expected, type Read } from './expected.ts';
import { compareFiles } from './files.ts';
import { ownedElsewhere, ownRow, readHeld, writtenSince, type Held } from './held.ts';
import { nameDifferences } from './name.ts';
import { compareOutside, type OutsideFinding } from './outside.ts';
import { tablesOf, type Ground, type LedgerRow } from './read-back.ts';
import { isMeant, resolverFor } from './references.ts';
import { unexplained } from './target-only.ts';
import { sourceNow, type Verifier } from './verifier.ts';

const patienceMs = 15_000;

export type Verdicts = (readonly [Suspect, Verdict])[];

/** Suspects of one kind and collection. */
export async function judge(verifier: Verifier, suspects: readonly Suspect[]): Promise<Verdicts> {
  const [first] = suspects;
  if (first?.kind === 'file') return judgeFiles(verifier, first.mapping, suspects);
  if (first?.kind === 'key') return judgeKeys(verifier, first.mapping, suspects);
  const ground = verifier.grounds.find((one) => one.collectionId === first?.collectionId);
  return ground ? judgeDocuments(verifier, ground, suspects) : [];
}

/** Waits until capture has applied every change up to `version`. true where there is no capture: then nothing can be under way. */
export async function passed(verifier: Verifier, version: bigint): Promise<boolean> {
  for (const until = performance.now() + patienceMs; ; await sleep(30)) {
    const applied = await appliedVersion(verifier.resources.postgres);
    if (applied === undefined || applied >= version) return true;
    if (performance.now() > until || verifier.slice.over()) return false;
  }
}

async function judgeFiles(verifier: Verifier, mapping: string, suspects: readonly Suspect[]): Promise<Verdicts> {
  const found = new Map((await compareFiles(verifier, mapping, ['different'])).map((one) => [one.id, one]));
  // A row that is not judged yet may be why: then the file is not judged either.
  const proven = new Set((await compareFiles(verifier, mapping, ['different', 'suspect'])).map((one) => one.id));
  const [stale] = await query(
    verifier.resources.postgres,
    'looking for files to write',
    'select 1 from migration_control.stale_files where collection = $1',
    [mapping],
  );
  return suspects.map((suspect) => {
    const finding = found.get(suspect.id);
    if (!finding) return [suspect, { is: 'equal' }];
    const open = stale !== undefined || !proven.has(suspect.id);
    return [suspect, open ? { is: 'open', changed: false } : { is: 'different', ...finding }];
  });
}

/** A key may stand before the ledger row that explains it; found twice, with capture past the first look, it belongs to nobody. */
async function judgeKeys(verifier: Verifier, mapping: string, suspects: readonly Suspect[]): Promise<Verdicts> {
  if (!(await passed(verifier, await sourceNow(verifier.resources))))
    return suspects.map((suspect) => [suspect, { is: 'open', changed: false }]);
  const ids = suspects.map((one) => one.id);
  const left = new Set(await unexplained(verifier, mapping, ids));
  return suspects.map((suspect) => [
    suspect,
    left.has(suspect.id) ? { is: 'different', finding: 'extra', differs: [] } : { is: 'equal' },
  ]);
}

/** Equal is equal at once; only what is not has to wait for capture, lest it be judged for being under way. */
async function judgeDocuments(verifier: Verifier, ground: Ground, suspects: readonly Suspect[]): Promise<Verdicts> {
  const first = await compareAgain(verifier, ground, suspects, false);
  const left = first.filter(([, verdict]) => verdict.is !== 'equal').map(([suspect]) => suspect);
  if (left.length === 0) return first;
  const again = await compareAgain(verifier, ground, left, true);
  return [...first.filter(([, verdict]) => verdict.is === 'equal'), ...again];
}

async function compareAgain(
  verifier: Verifier,
  ground: Ground,
  suspects: readonly Suspect[],
  wait: boolean,
): Promise<Verdicts> {
  const { resources } = verifier;
  const { client, db } = resources.source;
  const ids = suspects.map((one) => one.id);
  const { version, documents } = await readDocuments(
    client,
    db,
    ground.source,
    await idsKnown(resources.postgres, ids),
  );
  if (wait && !(await passed(verifier, version))) return suspects.map((one) => [one, { is: 'open', changed: false }]);
  const now = await sourceNow(resources);
  const held = await readHeld(verifier, ground, ids, now);
  const after = await sourceNow(resources);

  const expectation = new Expectation(ground);
  const reads = new Map<string, Read>();
  const moving = new Map<string, 'written' | 'waits'>();
  for (const id of ids) {
    const own = ownRow(held, ground, id);
    const written = own === undefined ? version : BigInt(own.version);
    // Ahead of the source's own time it is no version that anything was written with.
    if (written > version && written <= after) moving.set(id, 'written');
    else if (held.waiting.has(id)) moving.set(id, 'waits');
    const bytes = documents.get(id);
    if (bytes) reads.set(id, expectation.read(bytes, verifier.transformAt(written > after ? version : written)));
  }
  const resolve = await resolverFor(
    verifier,
    [...reads.values()].flatMap((read) => expectation.referencesOf(read)),
  );
  const images = new Map<string, Expected>();
  for (const [id, read] of reads) {
    const own = ownRow(held, ground, id);
    const image = expectation.image(read, resolve);
    images.set(id, image);
    if (!own || own.deleted || own.state !== 'q' || image.state !== 'l') continue;
    const why = await whyAside(verifier, ground, held, own, read);
    // It stays as it was set aside, whatever else of it changes, for as long as another holds what it lost.
    if (why === 'lost' && moving.get(id) !== 'written') {
      images.set(id, { ...expectation.setAside(read), items: [own.item] });
      moving.delete(id);
    }
    if (why === 'waiting') moving.set(id, 'waits');
  }
  const unwanted = ids.filter((id) => images.get(id)?.state !== 'l' && !ownedElsewhere(held, ground, id));
  const weight = [...documents.values()].reduce((sum, bytes) => sum + bytes.byteLength, 0);
  const averageBytes = weight / Math.max(1, documents.size);
  const outside = await compareOutside(verifier, ground, [...images.values()], averageBytes, unwanted);
  if (wait && outside.findings.size > 0) {
    // Other stores are written before the ledger commits: a newer version that was seen there stands in it only after this.
    if (!(await passed(verifier, await sourceNow(resources))))
      return suspects.map((one) => [one, { is: 'open', changed: false }]);
    for (const id of await writtenSince(verifier, ground, held, [...outside.findings.keys()]))
      moving.set(id, 'written');
  }

  const verdicts: Verdicts = [];
  for (const suspect of suspects) {
    const { id } = suspect;
    const verdict = await verdictOn(
      verifier,
      ground,
      id,
      held,
      images.get(id),
      outside.findings.get(id),
      reads.get(id),
      resolve,
    );
    // What is equal is so, whatever was written meanwhile.
    const moves = verdict.is === 'different' && moving.has(id);
    verdicts.push([suspect, moves ? { is: 'open', changed: true } : verdict]);
  }
  return verdicts;
}

/**
 * Why a document that would load is set aside. `lost`: another holds its id or a unique value of it, or its own table refused it. `waiting`: what it
 * lost is free again, and it is tried anew from time to time.
 */
async function whyAside(
  verifier: Verifier,
  ground: Ground,
  held: Held,
  own: LedgerRow,
  read: Read,
): Promise<'lost' | 'waiting' | undefined> {
  if (own.rule === refusedRule) return 'lost';
  const set = ground.mapping.unique.findIndex((rule) => rule.rule === own.rule);
  if (set < 0 && own.rule !== sameIdRule) return undefined;
  if (set < 0 ? ownedElsewhere(held, ground, read.id) : await hasHolder(verifier, ground, set, read)) return 'lost';
  const noted = await query(
    verifier.resources.postgres,
    'looking into the quarantine',
    `select 1 from migration_control.migration_errors where collection = $1 and source_collection = $2 and source_id = $3 and rule = $4 and resolved_at is null`,
    [ground.mapping.collection, ground.source, read.id, own.rule],
  );
  return noted.length > 0 ? 'waiting' : undefined;
}

/** Whether another row has the document's unique value. `set`: position in the mapping's `unique`, which is also that in its table's. */
async function hasHolder({ resources }: Verifier, ground: Ground, set: number, read: Read): Promise<boolean> {
  for (const target of tablesOf(ground.mapping)) {
    const columns = target.unique?.[set];
    const row = read.outcome[target.name]?.[0] as Row | undefined;
    if (!columns || !row) continue;
    const conditions = columns
      .map((column, i) =>
        target.columns[column]!.type === 'timestamptz'
          ? `extract(epoch from ${name(column)}) * 1000000 = $${i + 2}::numeric`
          : `${name(column)} = $${i + 2}`,
      )
      .join(' and ');
    const holders = await query(
      resources.postgres,
      `looking for who holds a value of ${target.name}`,
      `select 1 from ${name(target.name)} where source_id <> $1 and ${conditions} limit 1`,
      [read.id, ...columns.map((column) => row[column])],
    );
    return holders.length > 0;
  }
  return false;
}

async function verdictOn(
  verifier: Verifier,
  ground: Ground,
  id: string,
  held: Held,
  image: Expected | undefined,
  outside: OutsideFinding | undefined,
  read: Read | undefined,
  resolve: Resolve,
): Promise<Verdict> {
  const own = ownRow(held, ground, id);
  const present = own && !own.deleted;
  const rows = ownedElsewhere(held, ground, id) ? [] : (held.rows.get(id) ?? []);
  const actual = [...(present ? [own.item] : []), ...rows];
  const expected = image?.items ?? [];
  const { differs, references } = nameDifferences(ground.mapping, expected, actual);
  const found = new Set(differs);
  for (const { table, column, actual: parent } of references) {
    const reference = (read?.outcome[table]?.[0] as Row | undefined)?.[column] as Reference | undefined;
    if (!reference) continue;
    if (parent !== null && (await isMeant(verifier, reference, parent))) found.delete(`${table}.${column}`);
    // Its row is there by now, and the document is about to be read again.
    else if (held.unresolved.has(id) && resolve(reference) !== null) return { is: 'open', changed: false };
  }
  for (const one of outside?.differs ?? []) found.add(one);
  if (found.size === 0) return { is: 'equal' };
  return {
    is: 'different',
    finding: findingOf([...found], expected, actual, outside),
    differs: [...found].slice(0, 20),
  };
}

function findingOf(
  differs: readonly string[],
  expected: readonly string[],
  actual: readonly string[],
  outside: OutsideFinding | undefined,
): 'missing' | 'extra' | 'different' | 'stale' {
  if (expected.length === 0) return 'extra';
  if (actual.length === 0) return 'missing';
  if (differs.includes('ledger.source_digest')) return 'stale';
  if (differs.every((one) => one.endsWith(': a row is missing'))) return 'missing';
  if (differs.every((one) => one.endsWith(': a row too many'))) return 'extra';
  if (differs.length === 1 && outside) return outside.finding;
  return 'different';
}
