// The canonical form of a document's image in PostgreSQL, from the source's side. Its twin in SQL is read-back.ts (docs/decisions/0018-verification.md).
import { hash } from 'node:crypto';
import type { Column, Row, TableTarget } from '../../stores/postgres/target.ts';
import { Reference } from '../../stores/postgres/target.ts';
import { decimal, jsonText } from './canonical-text.ts';

/** One row, or the ledger's word on one document, as a JSON array in text: what it is, whose it is, then its values. */
export type Item = string;

/** A value that no row can hold: the document is expected to be set aside under `rule`. */
export class Unfit extends Error {
  readonly rule: string;
  constructor(rule: string) {
    super(rule);
    this.rule = rule;
  }
}

/** The source id of the row a reference names, or null. */
export type Resolve = (reference: Reference) => string | null;

export interface LedgerItem {
  readonly id: string;
  readonly state: 'l' | 'q' | 's';
  /** xxHash64 of the source's BSON, signed. */
  readonly digest: bigint;
  /** Microseconds; null where no table is partitioned by time, or nothing was loaded. */
  readonly place: number | null;
  /** SHA-256 of what it keeps of the bytes. */
  readonly kept?: string | null;
}

/** `false`: its version does not lie ahead of the source's own time. */
export const ledgerItem = ({ id, state, digest, place, kept = null }: LedgerItem): Item =>
  array([
    '"ledger"',
    quote(id),
    quote(state),
    quote(String(digest)),
    place === null ? 'null' : quote(String(place)),
    'false',
    kept === null ? 'null' : quote(kept),
  ]);

export type Canonicalise = (id: string, row: Row, resolve: Resolve) => Item;

/** Throws Unfit on a value that its column does not take. */
export function canonicaliserOf(target: TableTarget): Canonicalise {
  const columns = Object.entries(target.columns).map(([name, column]) => ({ name, column, write: writerOf(column) }));
  return (id, row, resolve) => {
    const parts = [quote(target.name), quote(id)];
    for (const { name, column, write } of columns) {
      const value = row[name] ?? null;
      if (value === null && column.notNull) throw new Unfit(`${name}_not_null`);
      if (column.type === 'jsonb') parts.push(value === null ? 'true' : 'false');
      parts.push(value === null ? 'null' : write(value, resolve));
    }
    return array(parts);
  };
}

function writerOf(column: Column): (value: unknown, resolve: Resolve) => string {
  if (column.references)
    return (value, resolve) => {
      if (!(value instanceof Reference)) throw new Unfit('mapping_failed');
      const found = resolve(value);
      return found === null ? 'null' : quote(found);
    };
  switch (column.type) {
    case 'text':
      return (value) => quote(textOf(value));
    case 'boolean':
      return (value) => (value === true ? 'true' : 'false');
    case 'bigint':
    case 'integer':
      return (value) => {
        if (typeof value !== 'number' && typeof value !== 'bigint') throw new Unfit('mapping_failed');
        return quote(value.toString());
      };
    case 'timestamptz':
      return (value) => {
        if (typeof value !== 'number') throw new Unfit('mapping_failed');
        return quote(value.toString());
      };
    case 'date':
      return (value) => quote(String(Date.parse(`${textOf(value)}T00:00:00Z`) / 86_400_000));
    case 'double precision':
      return (value) => quote(doubleBits(Number(value)));
    case 'jsonb':
      return (value) => {
        const text = jsonText(value);
        if (text === undefined) throw new Unfit('mapping_failed');
        return text;
      };
    default: {
      const scale = Number(/,(\d+)\)/.exec(column.type)?.[1] ?? 0);
      return (value) => quote(decimal(String(value), scale));
    }
  }
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new Unfit('mapping_failed');
  return value;
}

const eight = Buffer.alloc(8);

/** The sixteen hex digits of its IEEE 754 form; minus zero is zero. */
function doubleBits(value: number): string {
  eight.writeDoubleBE(value + 0);
  return eight.toString('hex');
}

const quote = (text: string): string => JSON.stringify(text);
const array = (parts: readonly string[]): string => `[${parts.join(', ')}]`;

/** The sum of the items' hashes, as two halves: order and distribution over tables do not matter, a repeated item does. */
export interface Digest {
  items: number;
  high: bigint;
  low: bigint;
}

export const noDigest = (): Digest => ({ items: 0, high: 0n, low: 0n });

/** The first 128 bits of the item's SHA-256, as two signed numbers of 64 bits. */
export function add(digest: Digest, item: Item): void {
  const bytes = hash('sha256', item, 'buffer');
  digest.items++;
  digest.high += bytes.readBigInt64BE(0);
  digest.low += bytes.readBigInt64BE(8);
}

export function merge(into: Digest, other: Digest): void {
  into.items += other.items;
  into.high += other.high;
  into.low += other.low;
}

export const isEqual = (a: Digest, b: Digest): boolean => a.items === b.items && a.high === b.high && a.low === b.low;

/** Buckets of one piece: with thousands of pieces there are hundreds of thousands of buckets, each of few keys. */
export const bucketCount = 256;
export const bucketOf = (source: string, id: string): number => hash('sha256', `${source}:${id}`, 'buffer')[0]!;
