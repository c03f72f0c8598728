// Reads what a report is made from: PostgreSQL alone, one read-only snapshot of it, every table looked for before it is read.
import type pg from 'pg';
import {
  knownSnapshots,
  unfinishedRestore,
  type KnownSnapshot,
  type UnfinishedRestore,
} from '../control/checkpoints.ts';
import { reverseStatus, type ReverseStatus } from '../control/reverse.ts';
import { readTraffic, type TrafficSums } from '../control/traffic.ts';
import { KnownFailure } from '../core/failures.ts';
import { postgresFailure, query } from '../stores/postgres/connection.ts';
import { policiesOf, unarmedText } from '../stores/postgres/policies.ts';
import { readAudit, type Audit } from './collect-audit.ts';
import { readProofs, type Proofs } from './collect-proofs.ts';
import { readCapture, readCopySeries, type CaptureRead, type CopySlot } from './collect-series.ts';

export interface CollectionCounts {
  readonly collection: string;
  readonly loaded: number;
  readonly quarantined: number;
  readonly skipped: number;
}

export interface CopyRow {
  readonly collection: string;
  readonly documents: number;
  readonly bytes: number;
  readonly batches: number;
  readonly first: Date;
  readonly last: Date;
}

export interface RouteRow {
  readonly collection: string;
  readonly percentage: number;
  readonly write_mode: string;
  readonly epoch: number;
}

export interface ValidationRow {
  readonly collection: string;
  readonly overall_status: string;
  readonly individual_results: Record<string, { status: string; details?: unknown; error?: string }>;
  readonly timestamp: Date;
  readonly runs: number;
}

export interface KindCount {
  readonly collection: string;
  readonly kind: string;
  readonly documents: number;
}

export interface RuleRow {
  readonly collection: string;
  readonly rule: string;
  readonly path: string;
  readonly open: number;
  readonly resolved: number;
}

export interface Collected extends Audit, Proofs {
  readonly migration: string;
  readonly enrolled: readonly string[];
  /** undefined: it took too long. */
  readonly counts: readonly CollectionCounts[] | undefined;
  readonly copied: readonly CopyRow[];
  readonly copySlots: readonly CopySlot[];
  readonly routes: readonly RouteRow[];
  readonly validations: readonly ValidationRow[];
  /** The newest result of each collection that has an accounting by key. */
  readonly accountings: readonly ValidationRow[];
  readonly rules: readonly RuleRow[];
  readonly capture: CaptureRead | undefined;
  readonly reverse: ReverseStatus | undefined;
  readonly conflicts: readonly KindCount[];
  readonly late: readonly KindCount[];
  readonly unsaid: readonly KindCount[];
  readonly closed: readonly string[];
  readonly divergences: readonly KindCount[];
  readonly checkpoints: readonly { readonly name: string; readonly phase: string; readonly created_at: Date }[];
  readonly snapshots: readonly KnownSnapshot[];
  readonly restore: UnfinishedRestore | undefined;
  readonly traffic: readonly TrafficSums[];
  readonly notes: readonly string[];
}

/** Reading inside the report's transaction. */
export interface Reader {
  readonly client: pg.ClientBase;
  /** Rows of a query over these tables of migration_control; none where one is not there. */
  rows<T>(tables: readonly string[], doing: string, sql: string): Promise<T[]>;
  /** The same for what may take long: undefined, and a note, where the server gives it up. */
  patient<T>(tables: readonly string[], doing: string, sql: string): Promise<T[] | undefined>;
}

/** A report may look long at a large ledger, but not for ever, ms. */
const longestMs = 120_000;

/** Changes nothing. The caller has made sure that the control schema is this migration's. */
export async function collect(pool: pg.Pool, migration: string): Promise<Collected> {
  const client = await pool.connect().catch((error: unknown) => {
    throw postgresFailure(error, 'opening a connection');
  });
  try {
    await client.query(
      `begin transaction isolation level repeatable read read only; set local statement_timeout = ${longestMs}; set local timezone = 'UTC'`,
    );
    const notes: string[] = [];
    const read = await readAll(await readerOn(client, notes));
    const unarmed = unarmedText(await policiesOf(client));
    if (unarmed) notes.push(unarmed);
    return { migration, ...read, notes };
  } finally {
    await client.query('rollback').catch(() => undefined);
    client.release();
  }
}

async function readerOn(client: pg.ClientBase, notes: string[]): Promise<Reader> {
  const there = new Set(
    (
      await query<{ name: string }>(
        client,
        'looking for tables',
        `select relname as name from pg_class where relnamespace = to_regnamespace('migration_control') and relkind in ('r', 'p', 'v')`,
      )
    ).map((row) => row.name),
  );
  const rows = async <T>(tables: readonly string[], doing: string, sql: string): Promise<T[]> =>
    tables.every((table) => there.has(table)) ? ((await query(client, doing, sql)) as T[]) : [];
  return {
    client,
    rows,
    async patient<T>(tables: readonly string[], doing: string, sql: string): Promise<T[] | undefined> {
      await client.query('savepoint patient');
      try {
        return await rows<T>(tables, doing, sql);
      } catch (error) {
        if (!(error instanceof KnownFailure) || error.type !== 'StoreBusy') throw error;
        await client.query('rollback to savepoint patient');
        notes.push(`${doing} took longer than ${longestMs / 1000} s and was given up.`);
        return undefined;
      }
    },
  };
}

async function readAll(reader: Reader): Promise<Omit<Collected, 'migration' | 'notes'>> {
  const { client, rows } = reader;
  const enrolled = await rows<{ mapping: string }>(
    ['collections'],
    'reading collections',
    'select distinct mapping from migration_control.collections order by 1',
  );
  const kinds = (table: string, kind: string) =>
    rows<KindCount>(
      [table, 'collections'],
      `reading ${table}`,
      `select c.mapping as collection, ${kind} as kind, count(*)::float8 as documents
       from migration_control.${table} t join migration_control.collections c on c.id = t.collection_id group by 1, 2 order by 1, 2`,
    );
  return {
    ...(await readAudit(reader)),
    ...(await readProofs(reader)),
    enrolled: enrolled.map((row) => row.mapping),
    counts: await reader.patient<CollectionCounts>(
      ['ledger', 'collections'],
      'Counting the ledger',
      `select c.mapping as collection, count(*) filter (where l.state = 'l')::float8 as loaded,
         count(*) filter (where l.state = 'q')::float8 as quarantined, count(*) filter (where l.state = 's')::float8 as skipped
       from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id where not l.deleted group by 1 order by 1`,
    ),
    copied: await rows<CopyRow>(
      ['migration_batches'],
      'reading batches',
      `select collection, sum(documents)::float8 as documents, sum(bytes)::float8 as bytes, count(*)::float8 as batches,
         min(started_at) as first, max(finished_at) as last
       from migration_control.migration_batches group by 1 order by 1`,
    ),
    copySlots: await readCopySeries(reader),
    routes: await rows<RouteRow>(
      ['routing'],
      'reading the routing',
      'select collection, percentage, write_mode, epoch::float8 as epoch from migration_control.routing order by 1',
    ),
    validations: await newestValidations(reader, 'true'),
    accountings: await newestValidations(reader, `individual_results ? 'count_validation'`),
    rules: await rows<RuleRow>(
      ['migration_errors'],
      'reading the quarantine',
      `select collection, rule, path, count(*) filter (where resolved_at is null)::float8 as open,
         count(*) filter (where resolved_at is not null)::float8 as resolved
       from migration_control.migration_errors group by 1, 2, 3 order by 4 desc, 5 desc, 1, 2, 3 limit 500`,
    ),
    capture: await readCapture(reader),
    reverse: await reverseStatus(client),
    conflicts: await rows<KindCount>(
      ['reverse_conflicts'],
      'reading conflicts',
      `select collection, kept as kind, count(*)::float8 as documents from migration_control.reverse_conflicts group by 1, 2 order by 1, 2`,
    ),
    late: await kinds('late_writes', `case when deleted then 'deleted' else 'written' end`),
    unsaid: await kinds('reverse_unsaid', `'stays in the new system'`),
    closed: (
      await rows<{ collection: string }>(
        ['closed_collections'],
        'reading closed collections',
        'select collection from migration_control.closed_collections order by 1',
      )
    ).map((row) => row.collection),
    divergences: await kinds('divergences', 'kind'),
    checkpoints: await rows<Collected['checkpoints'][number]>(
      ['rollback_checkpoints'],
      'reading checkpoints',
      'select name, phase, created_at from migration_control.rollback_checkpoints order by created_at, name',
    ),
    snapshots: await knownSnapshots(client),
    restore: await unfinishedRestore(client),
    traffic: (
      await rows(['traffic_samples'], 'looking for traffic', 'select 1 from migration_control.traffic_samples limit 1')
    ).length
      ? await readTraffic(client, 3600)
      : [],
  };
}

const newestValidations = (reader: Reader, condition: string): Promise<ValidationRow[]> =>
  reader.rows<ValidationRow>(
    ['validation_results'],
    'reading validations',
    `select distinct on (collection) collection, overall_status, individual_results, "timestamp",
       count(*) over (partition by collection)::float8 as runs
     from migration_control.validation_results where ${condition} order by collection, id desc`,
  );
