// Ledger and quarantine rows as COPY text, and the columns they stand in.
import type { Version } from '../../core/guard.ts';
import { escape, microsText } from './copy.ts';

export const stateCode = { loaded: 'l', quarantined: 'q', skipped: 's' } as const;
export type State = keyof typeof stateCode;

/** How a version came into the ledger; what the copy loads has none. */
export const originCode = {
  capture: 'c',
  'second write': 'w',
  'read again': 'a',
  'gap repair': 'g',
  'quarantine retry': 'q',
  'way back': 'b',
  'verification repair': 'v',
} as const;
export type Origin = keyof typeof originCode;

export const ledgerColumns = [
  'collection_id',
  'source_id',
  'version',
  'op_index',
  'state',
  'rule',
  'mapping_version',
  'source_digest',
  'place',
  'deleted',
  'keys',
  'kept',
];

export interface LedgerRow {
  readonly sourceId: string;
  readonly version: Version;
  readonly state: State;
  readonly rule?: string | undefined;
  readonly digest: bigint;
  /** Microseconds; the time column of the document's row in a table partitioned by time. */
  readonly place?: number | undefined;
  readonly deleted?: boolean;
  /** Redis keys of the document, prefix included. */
  readonly keys?: readonly string[] | undefined;
  /** The document's bytes, encrypted, where the targets hold its fields but not their order. */
  readonly kept?: Uint8Array | undefined;
}

/** Encodes the ledger rows of one source collection. */
export function ledgerEncoder(collectionId: number, mappingVersion: number): (row: LedgerRow) => string {
  return (row) =>
    `${collectionId}\t${escape(row.sourceId)}\t${row.version.time}\t${row.version.op}\t${stateCode[row.state]}\t${row.rule ?? '\\N'}\t${mappingVersion}\t${row.digest}\t${row.place === undefined ? '\\N' : microsText(row.place)}\t${row.deleted ? 't' : 'f'}\t${row.keys && row.keys.length > 0 ? escape(arrayText(row.keys)) : '\\N'}\t${row.kept ? `\\\\x${Buffer.from(row.kept).toString('hex')}` : '\\N'}\n`;
}

/** A text array as PostgreSQL writes one. */
const arrayText = (values: readonly string[]): string =>
  `{${values.map((value) => `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`).join(',')}}`;

export const unresolvedColumns = ['collection_id', 'source_id', 'parent', 'parent_column', 'key'];

export const encodeUnresolved = (collectionId: number, id: string, parent: string, column: string, key: string) =>
  `${collectionId}\t${[id, parent, column, key].map(escape).join('\t')}\n`;

export const errorColumns = [
  'collection',
  'source_collection',
  'source_id',
  'rule',
  'path',
  'message',
  'document',
  'mapping_version',
  'bson_type',
];

export interface ErrorRow {
  readonly collection: string;
  readonly sourceCollection: string;
  readonly sourceId: string;
  readonly rule: string;
  readonly path: string;
  readonly message: string;
  /** JSON: the document, sealed. */
  readonly document: string;
  readonly mappingVersion: number;
  /** Of what stands at `path`. */
  readonly bsonType: string;
}

export const encodeError = (row: ErrorRow): string =>
  `${[row.collection, row.sourceCollection, row.sourceId, row.rule, row.path, row.message, row.document].map(escape).join('\t')}\t${row.mappingVersion}\t${escape(row.bsonType)}\n`;
