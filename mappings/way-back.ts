// The way back: what changed in the targets is put into the document as the old system holds it. Pure; the forward direction is the judge.
import { decode } from '../core/bson/decode.ts';
import { idFromSourceId } from '../core/identity.ts';
import { fromBson } from './back/bson.ts';
import { cellsOf, sameCell, type Cell } from './back/cells.ts';
import type { BackSettings, Change, Put } from './back/declaration.ts';
import { changed, documentOf, elementAt, elementOf, elementsOf, valueOf, type Element } from './back/elements.ts';
import { changesFor, fieldNamesOf, originalsOf } from './back/changes.ts';
import { fromJson, fromKept } from './back/json.ts';
import { Reference } from '../stores/postgres/target.ts';
import type { Document, Mapping, Outcome } from './mapping.ts';
import { transformDocument } from './transform.ts';

export type PutSettings = BackSettings;
export type { Put } from './back/declaration.ts';

/** Nothing lies in the future of the way back: the forward direction is only asked what a value means. */
const endOfTime = Number.POSITIVE_INFINITY;

/** What the document becomes, or undefined where it is set aside or skipped. */
export function contentOf(mapping: Mapping, document: Uint8Array, settings: PutSettings): Outcome | undefined {
  const result = transformDocument(mapping, decode(document), { ...settings, asOf: endOfTime });
  return result.state === 'loaded' ? result.outcome : undefined;
}

/**
 * The document that says what the targets hold: `old` where it says it already, changed in those fields whose column changed. Without
 * `old` it is built from the content and from what was kept beside it. `content`: rows with the column values of `Row`, and documents, by
 * target name; references as Parent, or as the Reference that `old` makes where they are known not to have changed.
 */
export function putDocument(
  mapping: Mapping,
  sourceId: string,
  old: Uint8Array | undefined,
  content: Outcome,
  settings: PutSettings,
): Put {
  if (mapping.put) return mapping.put({ sourceId, old, content, settings });
  const wanted = cellsOf(mapping, content);
  const originals = originalsOf(mapping, content);
  const base = old ?? firstDraft(mapping, sourceId, content, originals);
  const writer = new Writer(mapping, base, wanted, settings, old ? undefined : originals);
  const { bytes, unsaid, refused } = writer.write();
  return { bytes: old || bytes === base ? bytes : inOrder(mapping, bytes), unsaid, refused };
}

/** What a document becomes, or under which rule it becomes nothing. */
interface Forward {
  readonly cells: Map<string, Cell> | undefined;
  readonly rule: string;
  readonly path: string;
}

/** Every cell has a list of changes that may say its new value; each is tried, together with the others', until the forward direction agrees. */
class Writer {
  readonly #mapping: Mapping;
  readonly #base: Uint8Array;
  readonly #wanted: ReadonlyMap<string, Cell>;
  readonly #settings: PutSettings;
  readonly #originals: Readonly<Record<string, unknown>>;
  readonly #isNew: boolean;
  readonly #changes = new Map<string, readonly Change[]>();
  /** Which of its changes is taken for a cell; a cell that is not here is as it is in the base. */
  readonly #taken = new Map<string, number>();
  readonly #given = new Map<string, Cell | undefined>();
  /** How often a cell has made way for another: two that need one field would go on making way for each other. */
  readonly #madeWay = new Map<string, number>();

  constructor(
    mapping: Mapping,
    base: Uint8Array,
    wanted: ReadonlyMap<string, Cell>,
    settings: PutSettings,
    originals: Readonly<Record<string, unknown>> | undefined,
  ) {
    this.#mapping = mapping;
    this.#base = base;
    this.#wanted = wanted;
    this.#settings = settings;
    this.#originals = originals ?? {};
    this.#isNew = originals !== undefined;
  }

  write(): Put {
    // A document made anew says all of itself: no field is left to what the forward direction would assume.
    if (this.#isNew) for (const name of this.#wanted.keys()) if (this.#isMissing(name)) this.#taken.set(name, 0);
    let bytes = this.#apply();
    for (;;) {
      const result = this.#forward(bytes);
      const wrong = result.cells ? this.#differing(result.cells) : [...this.#wanted.keys()];
      if (wrong.length === 0) return { bytes, unsaid: [] };
      if (!this.#advance(wrong, result)) return this.#settle(wrong);
      bytes = this.#apply();
    }
  }

  #isMissing(name: string): boolean {
    const [first] = this.#changesOf(name);
    return first !== undefined && first.every(({ path }) => elementAt(this.#base, path) === undefined);
  }

  #forward(bytes: Uint8Array): Forward {
    const result = transformDocument(this.#mapping, decode(bytes), { ...this.#settings, asOf: endOfTime });
    if (result.state === 'skipped') return { cells: undefined, rule: result.rule, path: '' };
    if (result.state === 'quarantined') return { cells: undefined, rule: result.rule, path: result.path };
    const cells = cellsOf(this.#mapping, result.outcome);
    for (const [name, cell] of cells) if (!this.#given.has(name)) this.#given.set(name, cell);
    return { cells, rule: '', path: '' };
  }

  #differing(cells: ReadonlyMap<string, Cell>): string[] {
    const names = new Set([...this.#wanted.keys(), ...cells.keys()]);
    return [...names].filter((name) => !sameCell(this.#wanted.get(name), cells.get(name)) && !this.#named(name, cells));
  }

  /** Without the old document, an owner that was kept and has no row is one who was never found, not one who was removed. */
  #named(name: string, cells: ReadonlyMap<string, Cell>): boolean {
    return this.#isNew && !this.#wanted.has(name) && cells.get(name)?.value instanceof Reference;
  }

  /** The next change of every cell that is wrong. A document that does not load blames the cells of one field, else whatever is unchanged. */
  #advance(wrong: readonly string[], { cells, path }: { cells: unknown; path: string }): boolean {
    // After its last change a cell may be left as it was: others may have made it wrong.
    const open = wrong.filter((name) => (this.#taken.get(name) ?? -1) < this.#changesOf(name).length);
    const blamed = cells ? open : open.filter((name) => this.#touches(name, path));
    const chosen = blamed.length > 0 ? blamed : open.filter((name) => !this.#taken.has(name));
    for (const name of chosen) this.#taken.set(name, (this.#taken.get(name) ?? -1) + 1);
    return chosen.length > 0 || this.#yield(wrong);
  }

  /** Cells that are right may hold a field that a wrong one needs: they take their next change, and the wrong ones begin again. */
  #yield(wrong: readonly string[]): boolean {
    const needed = new Set(wrong.flatMap((name) => this.#fieldsOf(name)));
    const rivals = [...this.#taken].filter(
      ([name, which]) =>
        !wrong.includes(name) &&
        which < this.#changesOf(name).length &&
        (this.#madeWay.get(name) ?? 0) < this.#changesOf(name).length &&
        this.#changesOf(name)[which]!.some((edit) => needed.has(edit.path[0]!)),
    );
    for (const [name, which] of rivals) {
      this.#taken.set(name, which + 1);
      this.#madeWay.set(name, (this.#madeWay.get(name) ?? 0) + 1);
    }
    if (rivals.length > 0) for (const name of wrong) this.#taken.delete(name);
    return rivals.length > 0;
  }

  #fieldsOf(name: string): string[] {
    return this.#changesOf(name).flatMap((change) => change.map((edit) => edit.path[0]!));
  }

  #isKept(name: string): boolean {
    const cell = this.#wanted.get(name);
    return cell?.kind === 'part' && cell.of === this.#mapping.back.rest;
  }

  #touches(name: string, path: string): boolean {
    const fields = path === '' ? [] : fieldNamesOf(this.#mapping, path);
    return this.#changesOf(name).some((change) => change.some((edit) => fields.includes(edit.path[0]!)));
  }

  /**
   * No change says it: the first one is taken, which is the natural one, but nothing is written over nothing. What was kept of a field because
   * it had no place gives way to the value that the field has by now.
   */
  #settle(wrong: readonly string[]): Put {
    for (const name of wrong) {
      if (this.#changesOf(name).length === 0) continue;
      if (this.#wanted.has(name)) this.#taken.set(name, 0);
      else this.#taken.delete(name);
    }
    const own = [...this.#taken.keys()].filter((name) => !this.#isKept(name));
    const ownFields = new Set(own.flatMap((name) => this.#fieldsOf(name)));
    for (const name of [...this.#taken.keys()])
      if (this.#isKept(name) && this.#fieldsOf(name).some((field) => ownFields.has(field))) this.#taken.delete(name);
    const bytes = this.#apply();
    const { cells, rule, path } = this.#forward(bytes);
    return cells
      ? { bytes, unsaid: this.#differing(cells) }
      : { bytes: this.#base, unsaid: [...wrong], refused: { rule, path } };
  }

  #changesOf(name: string): readonly Change[] {
    let changes = this.#changes.get(name);
    if (!changes) {
      const cell = this.#wanted.get(name);
      changes = changesFor(this.#mapping, this.#base, (cell ?? this.#given.get(name))!, cell?.value, this.#settings);
      this.#changes.set(name, changes);
    }
    return changes;
  }

  #apply(): Uint8Array {
    let bytes = this.#base;
    for (const [name, which] of this.#taken)
      for (const edit of this.#changes.get(name)![which] ?? []) {
        const last = edit.path.at(-1)!;
        bytes = changed(bytes, edit.path, (old): Element | undefined => {
          if ('json' in edit) return fromJson(last, edit.json, old, edit.path.join('.'), this.#originals);
          const value = 'make' in edit ? edit.make(old && valueOf(old)) : edit.value;
          return value === undefined ? undefined : fromBson(last, value, old);
        });
      }
    return bytes;
  }
}

/** A document of which nothing is left but its id and the values that were kept because no column says them. */
function firstDraft(
  mapping: Mapping,
  sourceId: string,
  content: Outcome,
  originals: Readonly<Record<string, unknown>>,
): Uint8Array {
  const document = mapping.targets
    .filter((target) => target.store === 'mongodb')
    .flatMap((target) => (content[target.name] ?? []) as readonly Document[])[0];
  const id = elementOf('_id', document ? document['_id'] : idFromSourceId(sourceId));
  // What was kept of entries of a list has no place before the list is there.
  return Object.entries(originals)
    .map(([path, value]) => [path.split('.'), value] as const)
    .filter(([path]) => !path.some((name) => /^\d+$/.test(name)))
    .reduce((draft, [path, value]) => changed(draft, path, () => elementOf('v', fromKept(value))), documentOf([id]));
}

/** Fields in the order in which the mapping names them, others after them: the same content always gives the same bytes. */
function inOrder(mapping: Mapping, bytes: Uint8Array): Uint8Array {
  const order = new Map(Object.keys(mapping.shape.shape).map((name, i) => [name, i]));
  const rank = ({ name }: Element) =>
    name === '_id' ? -1 : (order.get(mapping.otherNames[name] ?? name) ?? order.size);
  return documentOf(elementsOf(bytes).sort((a, b) => rank(a) - rank(b)));
}
