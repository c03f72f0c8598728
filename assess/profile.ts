// What a sample of documents holds: BSON types per field, fields a mapping does not know, and what the mapping would do with each.
import { typeOf } from '../core/bson-type.ts';
import type { Document, Mapping } from '../mappings/mapping.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { transformDocument } from '../mappings/transform.ts';

export interface FieldProfile {
  readonly path: string;
  /** Share of documents that have the field. */
  readonly present: number;
  /** Count per BSON type. */
  readonly types: Record<string, number>;
  /** Documents whose value is of a type the mapping's shape does not list; the mapping may still convert it. */
  readonly unexpected: number;
  /** Whether the mapping names the field; undefined below the top level and without a mapping. */
  readonly covered: boolean | undefined;
}

export interface Profile {
  readonly sampled: number;
  readonly fields: readonly FieldProfile[];
  readonly uncovered: readonly string[];
  readonly loaded: number;
  readonly skipped: number;
  /** Documents per quarantine rule. */
  readonly quarantined: Record<string, number>;
  /** Documents per warning of the mapping. */
  readonly warnings: Record<string, number>;
  readonly idTypes: readonly string[];
  readonly largestBytes: number;
}

/** Field names can be data (model names as keys): no more paths than this are counted. */
const mostPaths = 200;

export class Profiler {
  readonly #mapping: Mapping | undefined;
  readonly #settings: TransformSettings;
  readonly #fields = new Map<string, { present: number; types: Map<string, number>; unexpected: number }>();
  readonly #quarantined: Record<string, number> = {};
  readonly #warnings: Record<string, number> = {};
  readonly #idTypes = new Set<string>();
  #sampled = 0;
  #loaded = 0;
  #skipped = 0;
  #largest = 0;

  constructor(mapping: Mapping | undefined, settings: TransformSettings) {
    this.#mapping = mapping;
    this.#settings = settings;
  }

  add(document: Document, bytes: number): void {
    this.#sampled++;
    this.#largest = Math.max(this.#largest, bytes);
    this.#idTypes.add(typeOf(document['_id']));
    for (const [name, value] of Object.entries(document)) {
      this.#count(name, value, this.#accepts(name, value));
      if (typeOf(value) === 'object')
        for (const [inner, its] of Object.entries(value as object)) this.#count(`${name}.${inner}`, its, true);
    }
    if (!this.#mapping) return;
    const result = transformDocument(this.#mapping, document, this.#settings);
    if (result.state === 'quarantined') add(this.#quarantined, result.rule);
    else if (result.state === 'skipped') this.#skipped++;
    else {
      this.#loaded++;
      for (const warning of result.warnings) add(this.#warnings, warning);
    }
  }

  #accepts(name: string, value: unknown): boolean {
    const schema = this.#mapping?.shape.shape[this.#mapping.otherNames[name] ?? name];
    return (
      schema === undefined || (schema as { safeParse(value: unknown): { success: boolean } }).safeParse(value).success
    );
  }

  #count(path: string, value: unknown, accepted: boolean): void {
    let field = this.#fields.get(path);
    if (!field) {
      if (this.#fields.size >= mostPaths) return;
      field = { present: 0, types: new Map(), unexpected: 0 };
      this.#fields.set(path, field);
    }
    field.present++;
    if (!accepted) field.unexpected++;
    const type = typeOf(value);
    field.types.set(type, (field.types.get(type) ?? 0) + 1);
  }

  result(): Profile {
    const covers = (path: string) =>
      this.#mapping && !path.includes('.')
        ? path in this.#mapping.shape.shape || path in this.#mapping.otherNames
        : undefined;
    const fields = [...this.#fields.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, its]) => ({
        path,
        present: this.#sampled === 0 ? 0 : its.present / this.#sampled,
        types: Object.fromEntries(its.types),
        unexpected: its.unexpected,
        covered: covers(path),
      }));
    return {
      sampled: this.#sampled,
      fields,
      uncovered: fields.filter((field) => field.covered === false).map((field) => field.path),
      loaded: this.#loaded,
      skipped: this.#skipped,
      quarantined: this.#quarantined,
      warnings: this.#warnings,
      idTypes: [...this.#idTypes].sort(),
      largestBytes: this.#largest,
    };
  }
}

const add = (counts: Record<string, number>, key: string): void => void (counts[key] = (counts[key] ?? 0) + 1);
