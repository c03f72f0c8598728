// Checks while the source changes: what differs is looked at again when capture has passed it; only what stays different counts.
import { setTimeout as sleep } from 'node:timers/promises';
import { readStream } from '../control/capture.ts';
import { clusterTimeOf, readDocuments } from '../stores/mongodb/source.ts';
import { KnownFailure } from '../core/failures.ts';
import { idsKnown } from '../control/long-keys.ts';
import type { Mapping } from '../mappings/mapping.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { query } from '../stores/postgres/connection.ts';
import { comingTogether } from './capture/caught-up.ts';
import { compareBatch, type Finding } from './compare.ts';
import type { Resources } from './resources.ts';

/** A scan of minutes under a thousand writes a second leaves this many. */
export const mostUnderWay = 100_000;

/** With pauses that double between them, twelve seconds: housekeeping that died with its worker has been taken over by then. */
const mostGenerations = 7;
const firstPauseMs = 200;
const patienceMs = 10 * 60_000;

/**
 * `recheck` gets what differed and returns what still does. Without change capture nothing can have been under way, and the first answer
 * stands. More than `most` differences are no matter of timing.
 */
export async function untilSettled<T>(
  resources: Resources,
  differing: readonly T[],
  recheck: (differing: readonly T[]) => Promise<readonly T[]>,
  heartbeat: () => void,
  most = mostUnderWay,
  generations = mostGenerations,
): Promise<readonly T[]> {
  let left = differing;
  for (let n = 0; n < generations && left.length > 0 && left.length <= most; n++) {
    if (!(await caughtUp(resources, heartbeat))) return left;
    left = await recheck(left);
    if (left.length > 0 && n < generations - 1) await sleep(firstPauseMs * 2 ** n);
  }
  return left;
}

/**
 * Waits until what was written before `version`, by default before now, has been applied. Returns false where there is no capture. Capture that is
 * behind proves no difference: then the check is no failure but has to be made again.
 */
export async function caughtUp(resources: Resources, heartbeat: () => void, version?: string): Promise<boolean> {
  if (!(await readStream(resources.postgres))) return false;
  const isCaughtUp = comingTogether(resources, version ?? (await nowAtSource(resources)));
  for (const until = Date.now() + patienceMs; Date.now() < until; await sleep(100)) {
    heartbeat();
    if (await isCaughtUp()) return true;
  }
  throw new KnownFailure(
    'StoreBusy',
    `Change capture has not come as far as the check for ${patienceMs / 60_000} minutes.`,
  );
}

/** The source's cluster time, as `isCaughtUp` takes it: whatever was written before is not later. */
export async function nowAtSource({ source }: Pick<Resources, 'source'>): Promise<string> {
  return (await clusterTimeOf(source.db)).toString();
}

/**
 * One look at documents of a source collection, in the order that leaves only what is no matter of timing: read, passed by capture, compared.
 * `changing`: those of which the ledger holds a newer version than was read; the targets need not hold what was read. `passed` waits until what
 * was written before a version, by default before now, has been applied; where it cannot, it returns false, and so there is no answer.
 */
export async function lookOnceMore(
  resources: Resources,
  mapping: Mapping,
  { id, source }: { readonly id: number; readonly source: string },
  keys: readonly string[],
  transform: TransformSettings,
  passed: (version?: string) => Promise<boolean>,
): Promise<{ readonly differing: readonly Finding[]; readonly changing: ReadonlySet<string> } | undefined> {
  const { client, db } = resources.source;
  const { version, documents } = await readDocuments(client, db, source, await idsKnown(resources.postgres, keys));
  if (!(await passed(version.toString()))) return undefined;
  const findings = await compareBatch(resources, mapping, id, [...documents.values()], transform);
  const differing = findings.filter((one) => one.status !== 'match');
  if (differing.length === 0) return { differing, changing: new Set() };
  // Other stores are written before the ledger commits: a newer version that the comparison has seen there stands in it only after this.
  if (!(await passed())) return undefined;
  const rows = await query<{ source_id: string }>(
    resources.postgres,
    'reading the ledger',
    'select source_id from migration_control.ledger where collection_id = $1 and source_id = any($2) and version > $3',
    [id, differing.map((one) => one.record_id), version.toString()],
  );
  return { differing, changing: new Set(rows.map((row) => row.source_id)) };
}
