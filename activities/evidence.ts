// What a decision rests on, sampled: the application's traffic, probes of both sides, and whether the data is still there and right.
import { captureStatus } from '../control/capture.ts';
import { learnAllLongKeys } from '../control/long-keys.ts';
import { pruneTraffic, readTraffic, type TrafficSums } from '../control/traffic.ts';
import { nothingSeen, type CollectionEvidence, type Evidence, type SideEvidence } from '../core/evidence.ts';
import { quantile } from '../core/histogram.ts';
import { noiseOf, ratioOf } from '../core/ratio.ts';
import type { Settings } from '../core/settings.ts';
import type { WriteMode } from '../core/state.ts';
import { clockOf } from '../stores/mongodb/changes.ts';
import type { Mapping } from '../mappings/mapping.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { clusterTimeOf, millisecondsOf } from '../stores/mongodb/source.ts';
import { openPool, query } from '../stores/postgres/connection.ts';
import { check, unchecked, type Validation } from './evidence/checks.ts';
import { randomKeys, type Enrolled, type LedgerKey } from './evidence/keys.ts';
import { probe } from './evidence/probes.ts';
import { inForce } from './policy.ts';
import { mappingOf, type Resources } from './resources.ts';

export interface EvidenceOrder {
  /** By mapping name. */
  readonly collections: readonly string[];
  /** The interval that is looked back on, s. */
  readonly windowSeconds: number;
  readonly settings: Pick<Settings, 'zone' | 'providers'>;
  /** The PostgreSQL role that the application reads as: probes take it, so that a privilege it lacks is met. */
  readonly probeRole?: string;
  /** Documents compared at random, per collection. Default 200. */
  readonly keysPerCollection?: number;
}

/** What a statement of a check may take, ms: a check that would burden the server is left out and said to be. */
const statementMs = 2000;
const probesPerCollection = 5;
const probeTimeoutMs = 1000;

/**
 * Takes a few seconds: about three for 200,000 documents, and no more than about ten where a table hangs. A store that is away does not fail it: its probes are errors, and
 * what could not be checked says so.
 */
export async function sampleEvidence(
  shared: Resources,
  order: EvidenceOrder,
  heartbeat: () => void,
): Promise<Evidence> {
  // Connections of its own, which others cannot have used up, and statements that give up.
  const postgres = openPool(shared.addresses.postgres, 3, { statementTimeoutMs: statementMs });
  const resources = { ...shared, postgres };
  const to = new Date();
  const from = new Date(to.getTime() - order.windowSeconds * 1000);
  try {
    const known = await orElse(background(resources, order), nothingKnown);
    const { traffic, enrolled } = known;
    // Rows are what the settings in force make of documents, not what the stage was started with.
    const settings = await orElse(inForce(resources.postgres, order.settings), order.settings);
    const asOf = await orElse(sourceTime(resources), to.getTime());
    const subjects: Subject[] = [];
    for (const collection of order.collections)
      subjects.push(await subjectOf(resources, collection, known, order.keysPerCollection ?? 200));
    // One after the other: what checks take must not look like a slow database.
    const probes = await inTurn(subjects, ({ mapping, random }) => {
      const keys = Array.from({ length: probesPerCollection }, () => random[Math.floor(Math.random() * random.length)]);
      return probe(resources, mapping, keys, { role: order.probeRole, timeoutMs: probeTimeoutMs });
    });
    const validations = await inTurn(subjects, (subject) =>
      validate(resources, subject, { ...settings, asOf }, heartbeat),
    );
    const collections = subjects.map(({ mapping: { collection }, route }, i): [string, CollectionEvidence] => [
      collection,
      {
        percentage: route.percentage,
        ...trafficOf(traffic, collection, order.windowSeconds),
        probes: probes[i]!,
        validation: validations[i]!,
      },
    ]);
    return {
      from: from.toISOString(),
      to: to.toISOString(),
      collections: Object.fromEntries(collections),
      capture: await captureOf(resources, enrolled),
      incidents: [],
    };
  } finally {
    await postgres.end();
  }
}

interface Route {
  readonly percentage: number;
  readonly writeMode: WriteMode;
}

interface Background {
  readonly traffic: readonly TrafficSums[];
  readonly routes: ReadonlyMap<string, Route>;
  /** By mapping; empty where PostgreSQL does not answer. */
  readonly enrolled: ReadonlyMap<string, readonly Enrolled[]>;
}
const nothingKnown: Background = { traffic: [], routes: new Map(), enrolled: new Map() };

async function background(resources: Resources, order: EvidenceOrder): Promise<Background> {
  const enrolled = await enrolledIn(resources);
  const routes = await routesOf(resources);
  await pruneTraffic(resources.postgres);
  return { enrolled, routes, traffic: await readTraffic(resources.postgres, order.windowSeconds) };
}

/** A store that does not answer says nothing; anything else is thrown. */
async function orElse<T>(work: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await work;
  } catch (error) {
    unchecked(error);
    return otherwise;
  }
}

/** Two at a time: one that hangs does not make the others wait, and the servers have other work. */
async function inTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const queue = [...items.entries()];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) results[next[0]] = await work(next[1]);
  };
  await Promise.all([worker(), worker()]);
  return results;
}

async function routesOf({ postgres }: Resources): Promise<Map<string, Route>> {
  const rows = await query<{ collection: string; percentage: number; write_mode: WriteMode }>(
    postgres,
    'reading the routing',
    'select collection, percentage, write_mode from migration_control.routing',
  );
  return new Map(rows.map((row) => [row.collection, { percentage: row.percentage, writeMode: row.write_mode }]));
}

async function enrolledIn({ postgres }: Resources): Promise<Map<string, Enrolled[]>> {
  // Keys are drawn from the ledger: without it, documents of long ones would be missed where they are.
  await learnAllLongKeys(postgres);
  const rows = await query<{ id: number; mapping: string; source: string }>(
    postgres,
    'reading collections',
    'select id, mapping, source from migration_control.collections order by id',
  );
  const found = new Map<string, Enrolled[]>();
  for (const row of rows) found.set(row.mapping, [...(found.get(row.mapping) ?? []), row]);
  return found;
}

const sourceTime = async ({ source }: Resources): Promise<number> => millisecondsOf(await clusterTimeOf(source.db));

/** What of one collection is looked at. */
interface Subject {
  readonly mapping: Mapping;
  readonly enrolled: readonly Enrolled[];
  readonly route: Route;
  readonly random: readonly LedgerKey[];
}

async function subjectOf(
  resources: Resources,
  collection: string,
  { enrolled: all, routes }: Background,
  keys: number,
): Promise<Subject> {
  const enrolled = all.get(collection) ?? [];
  const found: LedgerKey[] = [];
  for (const one of enrolled) found.push(...(await orElse(randomKeys(resources.postgres, one, keys), [])));
  // Of all that were drawn an even share, in no order: an alias is often empty.
  const random = found
    .map((key) => [Math.random(), key] as const)
    .sort(([a], [b]) => a - b)
    .slice(0, keys)
    .map(([, key]) => key);
  const route = routes.get(collection) ?? { percentage: 0, writeMode: 'old' as const };
  return { mapping: mappingOf(resources, collection), enrolled, route, random };
}

async function validate(
  resources: Resources,
  { mapping, enrolled, route, random }: Subject,
  transform: TransformSettings,
  heartbeat: () => void,
): Promise<Validation> {
  const none = { checked: 0, failed: 0, missing: 0, corrupted: 0 };
  if (enrolled.length === 0) return { ...none, unchecked: 'its ledger cannot be read' };
  // From then on the new system is ahead, and comparing the other way round is the reverse sync's.
  if (route.writeMode === 'new_system') return { ...none, unchecked: 'writes have moved to the new system' };
  try {
    return await check(resources, mapping, enrolled, random, transform, heartbeat);
  } catch (error) {
    return { ...none, unchecked: unchecked(error) };
  }
}

function trafficOf(
  rows: readonly TrafficSums[],
  collection: string,
  seconds: number,
): Pick<CollectionEvidence, 'traffic' | 'writes' | 'shadow'> {
  const own = rows.filter((row) => row.collection === collection);
  const sum = (of: (row: TrafficSums) => number) => own.reduce((total, row) => total + of(row), 0);
  const logs = (of: 'ratios' | 'noise') => ({
    pairs: sum((row) => row[of].pairs),
    sum: sum((row) => row[of].sum),
    squares: sum((row) => row[of].squares),
  });
  const shadow = (its: keyof TrafficSums['shadow']) => sum((row) => row.shadow[its] ?? 0);
  const classes = { lag: shadow('lag'), expected: shadow('expected'), defect: shadow('defect') };
  return {
    traffic: {
      old: sideOf(
        own.find((row) => row.side === 'old'),
        seconds,
      ),
      new: sideOf(
        own.find((row) => row.side === 'new'),
        seconds,
      ),
    },
    writes: { count: sum((row) => row.writes), errors: sum((row) => row.write_errors) },
    shadow: {
      compared: shadow('equal') + classes.lag + classes.expected + classes.defect,
      ...classes,
      failed: shadow('failed'),
      ratio: ratioOf(logs('ratios')),
      noise: noiseOf(logs('noise')),
    },
  };
}

function sideOf(row: TrafficSums | undefined, seconds: number): SideEvidence {
  if (!row) return nothingSeen;
  const answered = row.reads - row.errors;
  return {
    reads: row.reads,
    errors: row.errors,
    perSecond: answered / seconds,
    meanMs: answered === 0 ? null : row.latency_ms / answered,
    p50Ms: quantile(row.histogram, 0.5),
    p95Ms: quantile(row.histogram, 0.95),
    p99Ms: quantile(row.histogram, 0.99),
  };
}

async function captureOf(
  resources: Resources,
  enrolled: ReadonlyMap<string, readonly Enrolled[]>,
): Promise<Evidence['capture']> {
  const status = await orElse(captureStateOf(resources), undefined);
  const ids = [...enrolled.values()].flat().map((one) => one.id);
  // Too many to count in time: validation has judged the share against its budget.
  const quarantineShare = await orElse(quarantineShareOf(resources, ids), 0);
  return { lagMs: status?.lagMs ?? null, gap: Boolean(status?.gap), quarantineShare };
}

const captureStateOf = async ({ postgres, source }: Resources) => captureStatus(postgres, await clockOf(source.db));

async function quarantineShareOf({ postgres }: Resources, ids: readonly number[]): Promise<number> {
  const [row] = await query<{ share: number | null }>(
    postgres,
    'counting quarantined documents',
    `select avg((state = 'q')::integer)::float8 as share from migration_control.ledger where collection_id = any($1) and not deleted`,
    [ids],
  );
  return row?.share ?? 0;
}
