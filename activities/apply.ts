// Changes to single documents, from wherever they come, into every target in one PostgreSQL transaction: lanes, dual writes and repairs meet here.
import { Readable } from 'node:stream';
import type pg from 'pg';
import { announceRead } from '../control/announced-keys.ts';
import { enterStores } from '../control/checkpoints.ts';
import { newestPerKey, type Version } from '../core/guard.ts';
import { sameIdRule } from '../core/quarantine.ts';
import type { Mapping, Outcome } from '../mappings/mapping.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { millisecondsOf } from '../stores/mongodb/source.ts';
import { applyImages, type Applied, type Images } from '../stores/postgres/apply.ts';
import { sameIdSet, type Clash } from '../stores/postgres/clashes.ts';
import { encodeUnresolved, type Origin } from '../stores/postgres/ledger.ts';
import { orNoteAgain } from '../stores/postgres/redo.ts';
import { resolveReferences } from '../stores/postgres/references.ts';
import type { CopyText } from '../stores/postgres/stage.ts';
import type { Row, TableTarget } from '../stores/postgres/target.ts';
import { saveLongKeys } from '../control/long-keys.ts';
import { leftoversOf, movedOf } from '../control/reverse.ts';
import { Breath } from './breath.ts';
import { enrolledIn, kinOf, settleOutside, type Targets } from './outside.ts';
import { noteLateWrites } from './reverse/late.ts';
import { mappingOf } from './resources.ts';
import { lostMessage } from './lost.ts';
import { markFiles } from './mark-files.ts';
import { imageOf, isLoading, Shaper, type Shaped, type Why } from './shape.ts';

/** A source collection that a mapping takes documents from, and its number in the ledger. */
export interface Feed {
  readonly mapping: Mapping;
  readonly source: string;
  readonly collectionId: number;
  readonly siblings: Images['siblings'];
  readonly referencedBy: Images['referencedBy'];
}

/** Source collections that are captured, by name. They are enrolled when capture is opened, and stay the same. */
export async function feedsOf({
  postgres,
  mappings,
}: Pick<Targets, 'postgres' | 'mappings'>): Promise<Map<string, Feed>> {
  const enrolled = await enrolledIn(postgres);
  return new Map(
    enrolled.map(({ id, mapping: collection, source }) => {
      const mapping = mappingOf({ mappings }, collection);
      return [source, { mapping, source, collectionId: id, ...kinOf(enrolled, mappings, mapping) }] as const;
    }),
  );
}

/** The whole document after the change, or undefined: it was deleted. */
export interface Change {
  readonly feed: Feed;
  readonly id: string;
  readonly version: Version;
  readonly bytes: Uint8Array | undefined;
}

export type ChangeSettings = Omit<TransformSettings, 'asOf'>;

/** What becomes of changes to a collection whose writes the new system has: noted for the way back, or simply left. */
export type LateWrites = 'note' | 'leave';

export interface Totals {
  /** Documents whose change was newer than what the targets held. */
  applied: number;
  stale: number;
  quarantined: number;
  /** Documents left as they were, because another one holds a unique value of theirs. */
  readonly clashes: Found[];
  /** Documents, by `lostKey`, whose change was no newer than what the targets held. */
  readonly refused: Set<string>;
  /** Mappings of which something was applied. */
  readonly touched: Set<string>;
  /** Documents, by `lostKey`, that could be neither applied nor set aside, and are noted to be read again. */
  readonly later: Set<string>;
}

export const noTotals = (): Totals => ({
  applied: 0,
  stale: 0,
  quarantined: 0,
  clashes: [],
  refused: new Set(),
  touched: new Set(),
  later: new Set(),
});

/** `copy`: unique values were settled before it, and the ledger knows it as the one without a name. */
export type Writer = Origin | 'copy';

export interface ChangeOptions {
  /** By `lostKey`: documents to set aside, and why. */
  readonly lost?: ReadonlyMap<string, Why>;
  /** Who writes, for the ledger; change capture where it is not given. */
  readonly origin?: Writer;
  /** `leave` where it is not given. */
  readonly late?: LateWrites;
  /** `leave`: what the document has in other stores stays there, because they refuse it. */
  readonly outside?: 'settle' | 'leave';
}

/**
 * Applies changes in the caller's transaction; other stores are written before it commits, under guards of their own, so that a crash in
 * between is repaired by applying the same again. Where writes have moved to the new system nothing is applied. Parents come before the rows
 * that refer to them.
 */
export async function applyChanges(
  targets: Targets,
  client: pg.ClientBase,
  changes: readonly Change[],
  settings: ChangeSettings,
  { lost = new Map(), origin = 'capture', late = 'leave', outside: elsewhere = 'settle' }: ChangeOptions = {},
): Promise<Totals> {
  await enterStores(client);
  const totals = noTotals();
  const mappings = [...new Set(changes.map((change) => change.feed.mapping.collection))];
  const moved = await movedOf(client, mappings);
  const leftovers = await leftoversOf(
    client,
    mappings.filter((mapping) => !moved.has(mapping)),
    changes.map((change) => change.id),
  );
  // Other stores last: what PostgreSQL may still refuse, or wait for, has been done by then.
  const outside: (() => Promise<void>)[] = [];
  for (const [feed, all] of inOrder(changes)) {
    const follows = (change: Change) => leftovers.has(`${feed.mapping.collection}\t${change.id}`);
    const later = all.filter(follows);
    const own = all.filter((change) => !follows(change));
    if (later.length > 0) await readLater(client, feed, later);
    if (own.length === 0) continue;
    if (moved.has(feed.mapping.collection)) {
      if (late === 'note') await noteLateWrites(client, feed, own);
      continue;
    }
    const { applied, quarantined } = await applyFeed(targets, client, feed, own, settings, lost, origin, outside);
    totals.applied += applied.fresh.length;
    totals.stale += applied.stale.length;
    totals.quarantined += quarantined;
    for (const { id } of applied.stale) totals.refused.add(lostKey(feed, id));
    if (applied.fresh.length > 0) totals.touched.add(feed.mapping.collection);
    for (const clash of applied.clashes) totals.clashes.push({ ...clash, feed });
  }
  if (elsewhere === 'settle') for (const settle of outside) await settle();
  await markFiles(client, targets, totals.touched);
  return totals;
}

/** What the new system had made of the document comes to the old one first, where both sides are compared; then the document is read again. */
async function readLater(client: pg.ClientBase, feed: Feed, changes: readonly Change[]): Promise<void> {
  await client.query(
    `insert into migration_control.redo (collection_id, source_id, reason) select $1, id, 'late write' from unnest($2::text[]) id ${orNoteAgain}`,
    [feed.collectionId, [...new Set(changes.map((change) => change.id))].sort()],
  );
}

export const lostKey = (feed: Feed, id: string): string => `${feed.collectionId}\t${id}`;

/** A document left as it was, because another one holds a unique value of it. */
export type Found = Clash & { readonly feed: Feed };

async function applyFeed(
  targets: Targets,
  client: pg.ClientBase,
  feed: Feed,
  changes: readonly Change[],
  settings: ChangeSettings,
  lost: ReadonlyMap<string, Why>,
  origin: Writer,
  outside: (() => Promise<void>)[],
) {
  const { mapping } = feed;
  await saveLongKeys(targets.postgres);
  const shaper = new Shaper(mapping, feed.source, feed.collectionId);
  const newest = newestPerKey(changes.map((change) => ({ ...change, key: change.id }))).sort((a, b) =>
    a.id < b.id ? -1 : 1,
  );
  const shaped: Shaped[] = [];
  const waiting = [];
  const settingsAt = (version: Version) => ({ ...settings, asOf: millisecondsOf(version.time) });
  const breath = new Breath();
  for (const { id, version, bytes } of newest) {
    await breath.take();
    if (!bytes) shaped.push(shaper.tombstone(id, version));
    else {
      const image = shaper.shape(imageOf(bytes, version), settingsAt(version), lost.get(lostKey(feed, id)));
      if (isLoading(image)) waiting.push(image);
      else shaped.push(image);
    }
  }
  const missing = await resolveReferences(
    client,
    waiting.map(({ id, outcome }) => ({ id, rows: Object.values(outcome).flat() as Row[] })),
  );
  for (const one of waiting) shaped.push(shaper.encode(one));
  shaped.sort((a, b) => (a.id < b.id ? -1 : 1));
  const lines = (target: string) =>
    shaped.flatMap((one) => one.lines.filter(([name]) => name === target).map((pair) => pair[1]));
  const applied: Applied = await applyImages(
    client,
    {
      collectionId: feed.collectionId,
      ledger: text(shaped.map((one) => one.ledger)),
      errors: optional(shaped.flatMap((one) => (one.error === undefined ? [] : [one.error]))),
      unresolved: optional(
        missing.map((one) => encodeUnresolved(feed.collectionId, one.id, one.parent, one.column, one.key)),
      ),
      tables: mapping.targets
        .filter((target): target is TableTarget => target.store === 'postgres')
        .map((target) => ({ target, rows: optional(lines(target.name) as string[]) })),
      siblings: feed.siblings,
      referencedBy: feed.referencedBy,
    },
    origin === 'copy' ? { forgetElections: false } : { forgetElections: true, origin },
  );
  if (mapping.targets.some((target) => target.store === 'mongodb' || target.store === 'redis')) {
    const outcomes = new Map<string, Outcome>(shaped.map((one) => [one.id, one.outcome]));
    const overtaken = overtakenKeys(shaper, changes, settingsAt);
    outside.push(async () => {
      // What capture applies it applies again as it was, should it not be committed; a document that is read again may be another then.
      if (origin !== 'capture') await announceRead(targets.postgres, client, feed.collectionId, keysOf(shaper, shaped));
      await settleOutside({ targets, client, mapping, of: feed }, applied, outcomes, overtaken);
    });
  }
  return { applied, quarantined: shaped.filter((one) => one.state === 'quarantined').length };
}

/** Keys that the documents are about to have. */
const keysOf = (shaper: Shaper, shaped: readonly Shaped[]) =>
  shaped
    .filter((one) => one.state === 'loaded')
    .flatMap(({ id, version, outcome }) =>
      shaper.keysOf(outcome, version).map((key) => ({ sourceId: id, key, version: version.time })),
    );

/** Keys of every image in the batch: one that a later change overtakes may have been written by an attempt that broke off. */
function overtakenKeys(
  shaper: Shaper,
  changes: readonly Change[],
  settingsAt: (version: Version) => TransformSettings,
): Map<string, string[]> {
  const keys = new Map<string, string[]>();
  for (const { id, version, bytes } of changes) {
    if (!bytes || !shaper.hasKeys) continue;
    const image = shaper.shape(imageOf(bytes, version), settingsAt(version));
    if (isLoading(image)) keys.set(id, [...(keys.get(id) ?? []), ...shaper.keysOf(image.outcome, version)]);
  }
  return keys;
}

/** What to say of a document that keeps losing a unique value. */
export function whyLost({ feed: { mapping }, set, winner }: Found): Why {
  const { rule, path } = set === sameIdSet ? { rule: sameIdRule, path: '_id' } : mapping.unique[set]!;
  return { rule, path, message: lostMessage(mapping, path, winner) };
}

/** Changes by feed, mappings that others refer to first. */
function inOrder(changes: readonly Change[]): [Feed, Change[]][] {
  const feeds = new Map<number, [Feed, Change[]]>();
  for (const change of changes) {
    const known = feeds.get(change.feed.collectionId);
    if (known) known[1].push(change);
    else feeds.set(change.feed.collectionId, [change.feed, [change]]);
  }
  const rank = ({ mapping }: Feed) => mapping.after.length;
  return [...feeds.values()].sort(([a], [b]) => rank(a) - rank(b) || a.collectionId - b.collectionId);
}

const text =
  (lines: readonly string[]): CopyText =>
  () =>
    Readable.from([lines.join('')]);
const optional = (lines: readonly string[]): CopyText | undefined => (lines.length === 0 ? undefined : text(lines));
