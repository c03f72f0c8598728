// ref(): the row made of the document that a value names. Found while loading; the value is always kept, because the row's number is another.
import { ObjectId } from 'bson';
import { idFromSourceId, sourceId } from '../../../core/identity.ts';
import { Parent, Reference } from '../../../stores/postgres/target.ts';
import { missing, value, type Codec } from '../codec.ts';

export interface RefOptions {
  /** The table, where it is not called like the mapping. */
  readonly table?: string;
  /** Columns by which a row may be found, besides its source id. */
  readonly by?: readonly string[];
  /** What a row that is not found means. */
  readonly missing?: 'null' | 'quarantine';
}

/** What a column of it holds: a Reference as it is read from a document, the Parent as it is read from the table. */
export type Ref = Reference | Parent;

export function refCodec(mapping: string, options: RefOptions = {}): Codec<Ref> {
  const { table = mapping, by = [], missing: without = 'null' } = options;
  return {
    name: `ref(${mapping})`,
    type: 'bigint',
    bson: ['objectId', 'string'],
    keeps: 'always',
    refers: { mapping, by: ['source_id', ...by], missing: without },
    read(source) {
      if (source === undefined || source === null || source === '') return missing;
      // Text may stand for an ObjectId: many applications store one as the other.
      const key = sourceId(source);
      const hex =
        typeof source === 'string' && /^[0-9a-f]{24}$/i.test(source)
          ? [['source_id', source.toLowerCase()] as const]
          : [];
      const named =
        typeof source === 'string' ? by.map((column) => [column, source.replaceAll('\u0000', '')] as const) : [];
      return value(new Reference(table, [...hex, ['source_id', key], ...named]));
    },
    write: (ref, old) => (ref instanceof Parent ? owners(ref, old) : []),
  };
}

/** As the field named the one before: an ObjectId, or its text; by a name where the id is unknown. */
function owners({ values }: Parent, old: unknown): unknown[] {
  const { source_id: source, ...names } = values;
  const id = source === undefined ? undefined : idFromSourceId(source);
  const hex = id instanceof ObjectId ? id : undefined;
  const asText = typeof old === 'string';
  const byId = hex ? (asText ? [hex.toHexString(), hex] : [hex, hex.toHexString()]) : [id];
  return [...byId, ...Object.values(names)].filter((one) => one !== undefined);
}
