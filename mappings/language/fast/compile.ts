// A declaration compiled into a reader over BSON bytes: no objects, no strings. What is not plain throughout is declined, and read slowly.
import { bsonType } from '../../../core/bson/reader.ts';
import type { FastOutput, FastPlace, Settings } from '../codec.ts';
import type { Declaration } from '../declare.ts';
import { tablesOf } from '../forward.ts';
import { planOf, sqlColumns, type Field, type Plan } from '../plan.ts';
import { encode } from './encode.ts';
import type { Look } from './look.ts';
import { int16, int32, nothing, CopyOutput } from './output.ts';
import { hex, isPlainName, writeJson } from './rest.ts';
import { sizeOf } from './size.ts';

/** Writes the document's row behind what stands in `out`; false, and nothing written, where the slow path has to read it. */
export type Fast = (bytes: Buffer, out: FastOutput, settings: Settings) => boolean;

/** undefined: something in the declaration needs the document decoded, whatever it holds. */
export function compile(declaration: Declaration): Fast | undefined {
  const [table, more] = tablesOf(declaration);
  if (!table || more || declaration.to.length > 1) return undefined;
  const plan = planOf(table.columns);
  const rules = (table.rules ?? []).some((rule) => 'holds' in rule);
  const { residual } = plan;
  const tagged = residual?.residual.tags && !residual.residual.untagged;
  if (rules || !residual || tagged || plan.derived.length > 0 || plan.entries.length > 0) return undefined;
  if (declaration.skip && !declaration.neverSkips) return undefined;
  const reader = new Reader(declaration, plan, sqlColumns(plan).length);
  return (bytes, out, settings) => reader.read(bytes, out, settings);
}

/** A name in a document, and whose it is: a field's, or -1 for one that only the slow path reads. */
interface Slot {
  readonly name: Buffer;
  readonly field: number;
}

const most = 24;

class Reader implements Look {
  readonly #plan: Plan;
  readonly #declaration: Declaration;
  readonly #count: number;
  readonly #slots: readonly Slot[];
  readonly #defaults: readonly (Buffer | undefined)[];
  readonly #absent: readonly ('null' | 'default' | 'declined')[];
  /** Where each field's value stands in the document at hand. */
  readonly #indexes: ReadonlyMap<string, number>;
  readonly #asked = new Map<string, Buffer>();
  /** Fields in the order of the columns; -1 is the residual. */
  readonly #order: readonly number[];
  readonly #type: Int32Array;
  readonly #at: Int32Array;
  readonly #end: Int32Array;
  /** Fields that nobody declared: type, name and value, five numbers each. */
  readonly #rest = new Int32Array(most * 5);
  #restCount = 0;
  #bytes: Buffer = Buffer.alloc(0);
  #place: { settings: Settings; idAt: number } = { settings: { asOf: 0 }, idAt: -1 };

  constructor(declaration: Declaration, plan: Plan, count: number) {
    this.#declaration = declaration;
    this.#plan = plan;
    this.#count = count;
    const names = plan.fields.flatMap(({ places }, field) =>
      places[0]!.map((path) => ({ name: Buffer.from(path[0]!), field: path.length === 1 ? field : -1 })),
    );
    const spread = plan.residual?.residual.spread;
    const slow = [
      ...plan.lists.map(({ path }) => path[0]!),
      ...(spread === undefined ? [] : [spread]),
      ...plan.fields.flatMap(({ column, places }) => [
        ...places.slice(1).flatMap((one) => one.map((path) => path[0]!)),
        ...column.facts.owns.map((one) => one.field),
        ...column.facts.with,
      ]),
    ];
    this.#slots = [...names, ...slow.map((name) => ({ name: Buffer.from(name), field: -1 }))];
    const size = plan.fields.length;
    [this.#type, this.#at, this.#end] = [new Int32Array(size), new Int32Array(size), new Int32Array(size)];
    this.#indexes = new Map(plan.fields.map(({ name }, i) => [name, i]));
    const members = Object.keys(plan.columns).filter((name) => this.#indexes.has(name) || name === plan.residual?.name);
    this.#order = members.map((name) => this.#indexes.get(name) ?? -1);
    this.#absent = plan.fields.map(absentOf);
    this.#defaults = plan.fields.map(({ column }) => encoded(column.facts.fallback?.value, column));
  }

  read(bytes: Buffer, out: FastOutput, settings: Settings): boolean {
    const start = out.at;
    this.#bytes = bytes;
    this.#place.settings = settings;
    if (this.#scan(bytes) && this.#isPlain() && this.#write(bytes, out)) return true;
    out.at = start;
    return false;
  }

  has(field: string): boolean {
    const index = this.#indexes.get(field);
    if (index !== undefined) return this.#type[index] !== 0;
    let name = this.#asked.get(field);
    if (!name) this.#asked.set(field, (name = Buffer.from(field)));
    for (let i = 0; i < this.#restCount; i++)
      if (this.#named(this.#rest[i * 5 + 1]!, this.#rest[i * 5 + 2]!, name)) return true;
    return false;
  }

  is(field: string, text: string): boolean {
    const i = this.#index(field);
    return (
      this.#type[i] === bsonType.string && this.#end[i]! - this.#at[i]! - 5 === text.length && this.begins(field, text)
    );
  }

  begins(field: string, text: string): boolean {
    const i = this.#index(field);
    if (this.#type[i] !== bsonType.string || this.#end[i]! - this.#at[i]! - 5 < text.length) return false;
    for (let k = 0; k < text.length; k++) if (this.#bytes[this.#at[i]! + 4 + k] !== text.charCodeAt(k)) return false;
    return true;
  }

  int(field: string): number | undefined {
    const i = this.#index(field);
    return this.#type[i] === bsonType.int ? this.#bytes.readInt32LE(this.#at[i]!) : undefined;
  }

  #index(field: string): number {
    const index = this.#indexes.get(field);
    if (index === undefined) throw new RangeError(`${field} is no column that is read from the document`);
    return index;
  }

  /** No tag applies, and the document is data. */
  #isPlain(): boolean {
    const { residual } = this.#plan.residual!;
    if (residual.untagged && !residual.untagged(this)) return false;
    return !this.#declaration.neverSkips || this.#declaration.neverSkips(this);
  }

  #scan(bytes: Buffer): boolean {
    const length = bytes.length;
    if (length < 5 || bytes.readInt32LE(0) !== length || bytes[length - 1] !== 0) return false;
    this.#type.fill(0);
    this.#restCount = 0;
    this.#place.idAt = -1;
    let guess = 0;
    for (let next = 4; next < length - 1;) {
      const type = bytes[next]!;
      const nameAt = next + 1;
      let nameEnd = nameAt;
      while (nameEnd < length && bytes[nameEnd] !== 0) nameEnd++;
      const at = nameEnd + 1;
      const size = sizeOf(bytes, type, at, length - 1);
      if (size < 0) return false;
      next = at + size;
      if (nameEnd - nameAt === 3 && bytes[nameAt] === 95 && bytes[nameAt + 1] === 105 && bytes[nameAt + 2] === 100) {
        if (type !== bsonType.objectId || this.#place.idAt >= 0) return false;
        this.#place.idAt = at;
        continue;
      }
      const slot = this.#slotOf(nameAt, nameEnd, guess);
      if (slot >= 0) {
        const { field } = this.#slots[slot]!;
        if (field < 0 || this.#type[field] !== 0) return false;
        this.#type[field] = type;
        this.#at[field] = at;
        this.#end[field] = next;
        guess = slot + 1;
      } else if (!this.#others(type, nameAt, nameEnd, at, next)) return false;
    }
    return this.#place.idAt >= 0;
  }

  /** Fields mostly stand in the order in which they are declared: the one after the last is tried first. */
  #slotOf(nameAt: number, nameEnd: number, guess: number): number {
    const slots = this.#slots;
    for (let i = 0; i < slots.length; i++) {
      const slot = guess + i < slots.length ? guess + i : guess + i - slots.length;
      if (this.#named(nameAt, nameEnd, slots[slot]!.name)) return slot;
    }
    return -1;
  }

  #named(nameAt: number, nameEnd: number, name: Buffer): boolean {
    if (nameEnd - nameAt !== name.length) return false;
    for (let i = 0; i < name.length; i++) if (this.#bytes[nameAt + i] !== name[i]) return false;
    return true;
  }

  #others(type: number, nameAt: number, nameEnd: number, at: number, end: number): boolean {
    if (this.#restCount === most || !isPlainName(this.#bytes, nameAt, nameEnd)) return false;
    const rest = this.#rest;
    for (let i = 0; i < this.#restCount; i++) {
      const its = rest[i * 5 + 1]!;
      if (
        rest[i * 5 + 2]! - its === nameEnd - nameAt &&
        this.#bytes.compare(this.#bytes, its, rest[i * 5 + 2]!, nameAt, nameEnd) === 0
      )
        return false;
    }
    const place = this.#restCount++ * 5;
    rest[place] = type;
    rest[place + 1] = nameAt;
    rest[place + 2] = nameEnd;
    rest[place + 3] = at;
    rest[place + 4] = end;
    return true;
  }

  #write(bytes: Buffer, out: FastOutput): boolean {
    out.room(30);
    int16(out, this.#count + 1);
    int32(out, 24);
    hex(out, bytes, this.#place.idAt);
    for (const field of this.#order)
      if (field < 0 ? !this.#residual(bytes, out) : !this.#field(bytes, out, field)) return false;
    return true;
  }

  #field(bytes: Buffer, out: FastOutput, i: number): boolean {
    const type = this.#type[i]!;
    const { codec, facts } = this.#plan.fields[i]!.column;
    if (type === 0) {
      if (this.#absent[i] === 'declined') return false;
      if (this.#absent[i] === 'null') {
        nothing(out);
        return true;
      }
      const its = this.#defaults[i]!;
      out.room(its.length);
      out.bytes.set(its, out.at);
      out.at += its.length;
      return true;
    }
    if (!codec.fast) return false;
    const at = this.#at[i]!;
    if (facts.checks.length > 0 && !this.#holds(bytes, i, type, at)) return false;
    return codec.fast.write(bytes, type, at, this.#end[i]!, out, this.#place as FastPlace);
  }

  #holds(bytes: Buffer, i: number, type: number, at: number): boolean {
    const { facts, codec } = this.#plan.fields[i]!.column;
    for (const check of facts.checks) {
      if (check.ofNumber) {
        if (type !== bsonType.double && type !== bsonType.int) return false;
        if (!check.holds((type === bsonType.int ? bytes.readInt32LE(at) : bytes.readDoubleLE(at)) as never))
          return false;
      } else if (
        type !== bsonType.string ||
        codec.type !== 'text' ||
        !check.holds(bytes.toString('utf8', at + 4, this.#end[i]! - 1) as never)
      )
        return false;
    }
    return true;
  }

  #residual(bytes: Buffer, out: FastOutput): boolean {
    const count = this.#restCount;
    if (count === 0) {
      nothing(out);
      return true;
    }
    out.room(8);
    const start = out.at;
    out.at += 4;
    out.bytes[out.at++] = 1;
    for (let i = 0; i < count; i++) {
      out.room(1);
      out.bytes[out.at++] = i === 0 ? 123 : 44;
      if (!writeJson(out, bytes, this.#rest, i * 5)) return false;
    }
    out.room(1);
    out.bytes[out.at++] = 125;
    const end = out.at;
    out.at = start;
    int32(out, end - start - 4);
    out.at = end;
    return true;
  }
}

/** What the column gets where the document has no such field. */
function absentOf({ column: { facts, codec }, places }: Field): 'null' | 'default' | 'declined' {
  if (facts.required !== undefined && !facts.fallback) return 'declined';
  // Another field may hold the value then.
  if (places.length > 1 || facts.with.length > 0 || codec.keeps === 'itself') return 'declined';
  return facts.fallback ? (facts.fallback.warn === undefined ? 'default' : 'declined') : 'null';
}

function encoded(value: unknown, { type }: Field['column']): Buffer | undefined {
  if (value === undefined) return undefined;
  const out = new CopyOutput(64);
  encode(out, type, value);
  return Buffer.from(out.written);
}
