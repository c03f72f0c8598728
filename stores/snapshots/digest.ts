// What a table, a collection or a keyspace holds, as one number: the same records in any order, however compressed, give the same.
import xxhash from 'xxhash-wasm';

const hasher = await xxhash();
const wrap = (value: bigint): bigint => BigInt.asUintN(64, value);

/**
 * Two sums, modulo 2^64, of two hashes of every record: sums, because no order is kept; of each record, so that one that is there twice
 * counts twice. Tells content apart, not forgers: each file has a SHA-256 beside it.
 */
export class ContentDigest {
  #left = 0n;
  #right = 0n;
  records = 0;

  add(record: Uint8Array): void {
    this.#left = wrap(this.#left + hasher.h64Raw(record, 1n));
    this.#right = wrap(this.#right + hasher.h64Raw(record, 2n));
    this.records++;
  }

  get hex(): string {
    return [this.#left, this.#right].map((half) => half.toString(16).padStart(16, '0')).join('');
  }
}

/** Cuts a stream of bytes into records: lines, or documents of BSON. What is left at the end of a chunk waits for the next. */
export class Records {
  readonly #end: (bytes: Buffer, from: number) => number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(form: 'lines' | 'bson') {
    this.#end = form === 'lines' ? endOfLine : endOfDocument;
  }

  *of(chunk: Buffer): Generator<Buffer> {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let from = 0;
    for (let to = this.#end(bytes, from); to > 0; to = this.#end(bytes, from)) {
      yield bytes.subarray(from, to);
      from = to;
    }
    this.#rest = bytes.subarray(from);
  }

  /** Bytes of a record that did not end. */
  get left(): number {
    return this.#rest.length;
  }
}

const endOfLine = (bytes: Buffer, from: number): number => bytes.indexOf(10, from) + 1;

function endOfDocument(bytes: Buffer, from: number): number {
  if (bytes.length - from < 4) return 0;
  const to = from + bytes.readInt32LE(from);
  return to > from && to <= bytes.length ? to : 0;
}

/** The form in which a store's records are written. */
export const formOf = (store: string): 'lines' | 'bson' => (store === 'mongodb' ? 'bson' : 'lines');
