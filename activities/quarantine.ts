// Trying quarantined documents again: read from the source anew, judged by today's mapping and policy, and written only where the outcome differs.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { countsOf } from '../control/quarantine.ts';
import { enterStores } from '../control/checkpoints.ts';
import { learnLongKeys } from '../control/long-keys.ts';
import { movedOf } from '../control/reverse.ts';
import { readStream, shownUpTo } from '../control/capture.ts';
import { failures, KnownFailure } from '../core/failures.ts';
import { judgeQuarantine, type QuarantineShare } from '../core/quarantine.ts';
import { transformDocument } from '../mappings/transform.ts';
import { millisecondsOf } from '../stores/mongodb/source.ts';
import { inTransaction, query } from '../stores/postgres/connection.ts';
import { feedsOf, lostKey, type Change, type ChangeSettings, type Feed } from './apply.ts';
import { applyPatiently } from './capture/patiently.ts';
import { readAgain, setAside, yieldTo } from './capture/redo.ts';
import { renderStale } from './capture/tend.ts';
import { killPoint } from './kill-points.ts';
import { changePolicy, readPolicy } from './policy.ts';
import type { Resources } from './resources.ts';
import { digestOf, imageOf, Shaper } from './shape.ts';

export interface RetryOrder {
  /** Of the workflow run: a retry that was killed goes on under the same. */
  readonly run: string;
  readonly rule?: string | undefined;
  readonly collection?: string | undefined;
  /** Only judges; what another document's unique value or a target would refuse is not foreseen. */
  readonly dryRun: boolean;
  /** Put into force first, for every writer; without it the policy in force is used. */
  readonly policy?: ChangeSettings | undefined;
}

export interface Tried {
  readonly documents: number;
  readonly loaded: number;
  readonly quarantined: number;
  readonly skipped: number;
  /** No longer in the source. */
  readonly gone: number;
}

/** Counts only: no key of a document leaves the activity. */
export interface RetryReport extends Tried {
  readonly dryRun: boolean;
  /** By the rule under which the documents stood when they were tried. */
  readonly rules: Record<string, Tried>;
}

const atOnce = 200;

/** Batch after batch, each in one transaction with the run's position and counts: killed in the middle it goes on after the last one. */
export async function retryQuarantined(
  resources: Resources,
  order: RetryOrder,
  cancelled: () => boolean,
): Promise<RetryReport> {
  const { zone, providers, configurationDirectory } = await begin(resources, order);
  const settings = order.policy ?? { zone, providers };
  const feeds = new Map([...(await feedsOf(resources)).values()].map((feed) => [feed.collectionId, feed]));
  const work = { order, feeds, settings };
  if (order.dryRun) return foresee(resources, work, cancelled);
  while (!cancelled() && (await patiently(() => nextBatch(resources, work)))) killPoint('retry.after-commit');
  // Where change capture runs, its housekeeping writes configuration files.
  if (!(await readStream(resources.postgres))) await renderStale(resources, configurationDirectory);
  const [row] = await query<{ counts: Record<string, Tried> }>(
    resources.postgres,
    'reading the outcome',
    'select counts from migration_control.quarantine_retries where run_id = $1',
    [order.run],
  );
  return reportOf(row!.counts, false);
}

interface Work {
  readonly order: RetryOrder;
  readonly feeds: ReadonlyMap<number, Feed>;
  readonly settings: ChangeSettings;
}

/** What is set aside from here on was judged by the policy that is in force from here on, and is not tried. */
async function begin(resources: Resources, order: RetryOrder) {
  return inTransaction(resources.postgres, 'beginning a retry', async (client) => {
    if (order.policy && !order.dryRun) await changePolicy(client, order.policy);
    const policy = await readPolicy(client);
    if (!policy)
      throw new KnownFailure(
        'ConfigurationInvalid',
        'Nothing has been migrated yet, so there is nothing to try again: `causeway start` opens change capture first.',
      );
    if (!order.dryRun)
      await client.query(
        `insert into migration_control.quarantine_retries (run_id, rule, collection, up_to)
         select $1, $2, $3, coalesce(max(id), 0) from migration_control.migration_errors on conflict do nothing`,
        [order.run, order.rule ?? null, order.collection ?? null],
      );
    return policy;
  });
}

interface Candidate {
  readonly id: string;
  readonly collection_id: number;
  readonly source_id: string;
  readonly rule: string;
  readonly path: string;
  readonly mapping_version: number;
  readonly digest: string | null;
}

async function candidates(
  on: pg.Pool | pg.ClientBase,
  { order }: Work,
  after: bigint,
  upTo: bigint | undefined,
): Promise<Candidate[]> {
  return query<Candidate>(
    on,
    'reading the quarantine',
    `select e.id, c.id as collection_id, e.source_id, e.rule, e.path, e.mapping_version, l.source_digest as digest
     from migration_control.migration_errors e join migration_control.collections c on c.mapping = e.collection and c.source = e.source_collection
     left join migration_control.ledger l on l.collection_id = c.id and l.source_id = e.source_id
     where e.resolved_at is null and e.id > $1 and ($2::bigint is null or e.id <= $2) and ($3::text is null or e.rule = $3)
       and ($4::text is null or e.collection = $4) order by e.id limit ${atOnce}`,
    [after.toString(), upTo?.toString() ?? null, order.rule ?? null, order.collection ?? null],
  );
}

type State = Exclude<keyof Tried, 'documents'>;

/** What today's mapping and policy make of a document, and whether that is another outcome than the one it is here for. */
interface Judged {
  readonly row: Candidate;
  readonly feed: Feed;
  readonly change: Change;
  readonly state: State;
  readonly differs: boolean;
}

async function judge(resources: Resources, { feeds, settings }: Work, rows: readonly Candidate[]): Promise<Judged[]> {
  const judged: Judged[] = [];
  await learnLongKeys(
    resources.postgres,
    rows.map((row) => row.source_id),
  );
  const atMost = await shownUpTo(resources.postgres);
  for (const [collectionId, feed] of feeds) {
    const own = new Map(rows.filter((row) => row.collection_id === collectionId).map((row) => [row.source_id, row]));
    if (own.size === 0) continue;
    for (const change of await readAgain(resources, feed, [...own.keys()], atMost)) {
      const row = own.get(change.id)!;
      judged.push({ row, feed, change, ...outcomeOf(feed, row, change, settings) });
    }
  }
  return judged;
}

function outcomeOf(
  { mapping }: Feed,
  row: Candidate,
  { bytes, version }: Change,
  settings: ChangeSettings,
): Pick<Judged, 'state' | 'differs'> {
  if (!bytes) return { state: 'gone', differs: true };
  const { document } = imageOf(bytes, version);
  const result = transformDocument(mapping, document, { ...settings, asOf: millisecondsOf(version.time) });
  if (result.state !== 'quarantined') return { state: result.state, differs: true };
  const same =
    result.rule === row.rule &&
    result.path === row.path &&
    row.mapping_version === mapping.version &&
    row.digest !== null &&
    BigInt(row.digest) === digestOf(bytes);
  return { state: 'quarantined', differs: !same };
}

/** Returns whether there was anything to do. */
async function nextBatch(resources: Resources, work: Work): Promise<boolean> {
  const { run } = work.order;
  return inTransaction(resources.postgres, 'trying quarantined documents again', async (client) => {
    await client.query('set local lock_timeout = 300');
    // Before any row is locked: one who is inside may want it, and a checkpoint waits for that one.
    await enterStores(client);
    const moved = await movedOf(client, [...resources.mappings.keys()]);
    const { rows: runs } = await client.query<{ position: string; up_to: string; counts: Record<string, Tried> }>(
      'select position, up_to, counts from migration_control.quarantine_retries where run_id = $1 for update',
      [run],
    );
    const { position, up_to: upTo, counts } = runs[0]!;
    const rows = await candidates(client, work, BigInt(position), BigInt(upTo));
    if (rows.length === 0) {
      await client.query(
        'update migration_control.quarantine_retries set finished_at = coalesce(finished_at, clock_timestamp()) where run_id = $1',
        [run],
      );
      return false;
    }
    // Where the new system has the writes, the old one's document is not what is to be written: what is set aside stays.
    const judged = (await judge(resources, work, rows)).map((one) =>
      moved.has(one.feed.mapping.collection) ? { ...one, differs: false } : one,
    );
    await writeOutcomes(resources, client, work, judged);
    const states = await statesOf(client, judged);
    for (const one of judged) add(counts, one.row.rule, states.get(lostKey(one.feed, one.row.source_id)) ?? 'gone');
    await client.query('update migration_control.quarantine_retries set position = $2, counts = $3 where run_id = $1', [
      run,
      rows.at(-1)!.id,
      JSON.stringify(counts),
    ]);
    killPoint('retry.before-commit');
    return true;
  });
}

/** Only what has another outcome is written to ledger and targets; what fails as before is left as it is, and its attempt counted. */
async function writeOutcomes(
  resources: Resources,
  client: pg.ClientBase,
  { settings }: Work,
  judged: readonly Judged[],
): Promise<void> {
  const differing = judged.filter((one) => one.differs);
  const changes = differing.map((one) => one.change);
  const origin = 'quarantine retry';
  for (const feed of new Set(changes.map((change) => change.feed))) {
    const own = changes.filter((change) => change.feed === feed);
    await yieldTo(
      client,
      feed,
      own.map((change) => change.id),
      own[0]!.version,
    );
  }
  const totals = await applyPatiently(resources, client, changes, settings, { origin });
  // No waiting for a unique value: capture reads the document again by itself when the value is free.
  const same = await setAside(resources, client, changes, totals.clashes, settings, origin);
  for (const { feed, id } of totals.clashes)
    await client.query(
      `delete from migration_control.redo where collection_id = $1 and source_id = $2 and reason = 'clash'`,
      [feed.collectionId, id],
    );
  const still = new Set(same.map((one) => lostKey(one.feed, one.id)));
  const failed = judged.filter((one) => !one.differs || still.has(lostKey(one.feed, one.row.source_id)));
  await client.query(
    'update migration_control.migration_errors set attempts = attempts + 1, tried_at = clock_timestamp() where id = any($1::bigint[]) and resolved_at is null',
    [failed.map((one) => one.row.id)],
  );
  await sealAnew(client, failed);
}

/** Documents that stay are encrypted again, with the key of today: an older one can be given up, and what was damaged is whole. */
async function sealAnew(client: pg.ClientBase, staying: readonly Judged[]): Promise<void> {
  const old = staying.filter((one) => one.change.bytes);
  if (old.length === 0) return;
  const documents = old.map(({ feed, change }) =>
    new Shaper(feed.mapping, feed.source, feed.collectionId).aside(imageOf(change.bytes!, change.version)),
  );
  await client.query(
    `update migration_control.migration_errors e set document = n.document from unnest($1::bigint[], $2::jsonb[]) n(id, document)
     where e.id = n.id and e.resolved_at is null`,
    [old.map((one) => one.row.id), documents],
  );
}

/** Where each document stands after the batch, whoever has brought it there. */
async function statesOf(client: pg.ClientBase, judged: readonly Judged[]): Promise<Map<string, State>> {
  const { rows } = await client.query<{ collection_id: number; source_id: string; state: State }>(
    `select l.collection_id, l.source_id, case when l.deleted then 'gone' when l.state = 'l' then 'loaded' when l.state = 's' then 'skipped' else 'quarantined' end as state
     from migration_control.ledger l join unnest($1::smallint[], $2::text[]) k(collection_id, source_id) using (collection_id, source_id)`,
    [judged.map((one) => one.feed.collectionId), judged.map((one) => one.row.source_id)],
  );
  return new Map(rows.map((row) => [`${row.collection_id}\t${row.source_id}`, row.state]));
}

async function foresee(resources: Resources, work: Work, cancelled: () => boolean): Promise<RetryReport> {
  const counts: Record<string, Tried> = {};
  for (let after = 0n; !cancelled();) {
    const rows = await candidates(resources.postgres, work, after, undefined);
    if (rows.length === 0) break;
    for (const one of await judge(resources, work, rows)) add(counts, one.row.rule, one.state);
    after = BigInt(rows.at(-1)!.id);
  }
  return reportOf(counts, true);
}

const none: Tried = { documents: 0, loaded: 0, quarantined: 0, skipped: 0, gone: 0 };

function add(counts: Record<string, Tried>, rule: string, state: State): void {
  const before = counts[rule] ?? none;
  counts[rule] = { ...before, documents: before.documents + 1, [state]: before[state] + 1 };
}

function reportOf(rules: Record<string, Tried>, dryRun: boolean): RetryReport {
  const sum = (of: keyof Tried) => Object.values(rules).reduce((total, one) => total + one[of], 0);
  return {
    dryRun,
    documents: sum('documents'),
    loaded: sum('loaded'),
    quarantined: sum('quarantined'),
    skipped: sum('skipped'),
    gone: sum('gone'),
    rules,
  };
}

const tries = 20;

/** Lanes write the same documents: who waits for the other's lock too long begins the batch again. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let n = 1; ; n++)
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof KnownFailure) || !failures[error.type].retryable || error.type === 'Defect' || n >= tries)
        throw error;
      await sleep(Math.min(50 * n, 500) * (1 + Math.random()));
    }
}

/** Whether the quarantine is within its budget: of each collection, and of all. A stage that asks does not pass when it is not. */
export async function quarantineShare(
  { postgres }: Pick<Resources, 'postgres'>,
  collections: readonly string[],
  budget: number,
): Promise<QuarantineShare> {
  return judgeQuarantine(await countsOf(postgres, collections), budget);
}
