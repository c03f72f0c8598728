// Ledger and quarantine rows as COPY text, and the columns they stand in.
import { escape, microsText } from './copy.ts';

export const stateCode = { loaded: 'l', quarantined: 'q', skipped: 's' } as const;
export type State = keyof typeof stateCode;

/** opIndex of a copied document: it holds everything its cluster time holds (protocol, part B). */
export const copiedOpIndex = 2147483647;

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
];

export interface LedgerRow {
  readonly sourceId: string;
  readonly state: State;
  readonly rule?: string | undefined;
  readonly digest: bigint;
  /** Microseconds; the time column of the document's row in a table partitioned by time. */
  readonly place?: number | undefined;
}

/** Encodes the ledger rows of one read: everything but the document's own part is the same in each. */
export function ledgerEncoder(
  collectionId: number,
  version: bigint,
  mappingVersion: number,
): (row: LedgerRow) => string {
  const before = `${collectionId}\t`;
  const middle = `\t${version}\t${copiedOpIndex}\t`;
  return (row) =>
    `${before}${escape(row.sourceId)}${middle}${stateCode[row.state]}\t${row.rule ?? '\\N'}\t${mappingVersion}\t${row.digest}\t${row.place === undefined ? '\\N' : microsText(row.place)}\n`;
}

export const errorColumns = [
  'collection',
  'source_collection',
  'source_id',
  'rule',
  'path',
  'message',
  'document',
  'mapping_version',
];

export interface ErrorRow {
  readonly collection: string;
  readonly sourceCollection: string;
  readonly sourceId: string;
  readonly rule: string;
  readonly path: string;
  readonly message: string;
  /** Redacted canonical Extended JSON without NUL characters. */
  readonly document: string;
  readonly mappingVersion: number;
}

export const encodeError = (row: ErrorRow): string =>
  `${[row.collection, row.sourceCollection, row.sourceId, row.rule, row.path, row.message, row.document].map(escape).join('\t')}\t${row.mappingVersion}\n`;
