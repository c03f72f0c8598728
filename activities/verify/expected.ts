// What the targets should hold of a document, from the document alone: read, transformed by its mapping, brought into the canonical form.
import { hash } from 'node:crypto';
import { ownVault } from '../../control/vault.ts';
import type { Outcome } from '../../mappings/mapping.ts';
import { transformDocument } from '../../mappings/transform.ts';
import type { Row } from '../../stores/postgres/target.ts';
import type { KeyRow, KeysTarget } from '../../stores/redis/target.ts';
import type { TransformSettings } from '../../mappings/settings.ts';
import { digestOf } from '../shape.ts';
import { canonicaliserOf, ledgerItem, Unfit, type Canonicalise, type Item, type Resolve } from './canonical.ts';
import { readDocument } from './bytes.ts';
import { tablesOf, type Ground } from './read-back.ts';
import { referencesIn } from './references.ts';

/** A document through its mapping. `outcome` is empty unless it loads. */
export interface Read {
  readonly id: string;
  readonly digest: bigint;
  readonly state: 'l' | 'q' | 's';
  /** SHA-256 of what the ledger is to keep of the bytes, encrypted, as no target holds the order of the fields. */
  readonly kept: string | null;
  readonly outcome: Outcome;
}

/** The image of a document: its items in PostgreSQL, its document per MongoDB target, its keys per Redis target. */
export interface Expected {
  readonly id: string;
  readonly state: 'l' | 'q' | 's';
  readonly items: readonly Item[];
  readonly outcome: Outcome;
}

const states = { loaded: 'l', quarantined: 'q', skipped: 's' } as const;

export class Expectation {
  readonly ground: Ground;
  readonly #canonicalise: ReadonlyMap<string, Canonicalise>;
  readonly #timed: readonly [table: string, column: string] | undefined;

  constructor(ground: Ground) {
    this.ground = ground;
    const tables = tablesOf(ground.mapping);
    this.#canonicalise = new Map(tables.map((target) => [target.name, canonicaliserOf(target)]));
    const timed = tables.find((target) => target.time !== undefined);
    this.#timed = timed && [timed.name, timed.time!];
  }

  read(raw: Uint8Array, settings: TransformSettings): Read {
    const { id, document, aside, reordered } = readDocument(raw);
    const digest = digestOf(raw);
    if (aside) return { id, digest, state: 'q', kept: null, outcome: {} };
    const result = transformDocument(this.ground.mapping, document, settings);
    const state = states[result.state];
    if (result.state !== 'loaded') return { id, digest, state, kept: null, outcome: {} };
    const kept = reordered ? hash('sha256', ownVault().sealKept(raw), 'hex') : null;
    return { id, digest, state, kept, outcome: result.outcome };
  }

  *rowsOf({ outcome }: Read): Generator<Row> {
    for (const table of this.#canonicalise.keys()) yield* (outcome[table] ?? []) as readonly Row[];
  }

  referencesOf = (read: Read) => referencesIn(this.rowsOf(read));

  /** A value that does not fit its column is known only now: the document is then expected to be set aside. */
  image(read: Read, resolve: Resolve): Expected {
    const { id, digest, state, kept, outcome } = read;
    if (state !== 'l') return { id, state, items: [ledgerItem({ id, state, digest, place: null })], outcome: {} };
    try {
      const items = [ledgerItem({ id, state, digest, place: this.#placeOf(outcome), kept })];
      for (const [table, canonicalise] of this.#canonicalise)
        for (const row of outcome[table] ?? []) items.push(canonicalise(id, row as Row, resolve));
      return { id, state, items, outcome };
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      return { id, state: 'q', items: [ledgerItem({ id, state: 'q', digest, place: null })], outcome: {} };
    }
  }

  /** The document set aside, though its mapping would load it. */
  setAside({ id, digest }: Read): Expected {
    return { id, state: 'q', items: [ledgerItem({ id, state: 'q', digest, place: null })], outcome: {} };
  }

  #placeOf(outcome: Outcome): number | null {
    if (!this.#timed) return null;
    const [table, column] = this.#timed;
    return ((outcome[table]?.[0] as Row | undefined)?.[column] as number | undefined) ?? null;
  }
}

export const documentOf = (outcome: Outcome, target: string): Record<string, unknown> | undefined =>
  outcome[target]?.[0] as Record<string, unknown> | undefined;
export const keysOf = (outcome: Outcome, target: KeysTarget): readonly KeyRow[] =>
  (outcome[target.name] ?? []) as readonly KeyRow[];
