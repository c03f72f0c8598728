// What a document is expected to be: its fields and the BSON types they are met with in their plain form, by path. `assess` counts the others.
import type { Plan } from './plan.ts';

export interface Expected {
  readonly path: string;
  readonly column: string;
  readonly types: readonly string[];
  readonly optional: boolean;
}

/** `[]` stands for every entry of a list. */
export function shapeOf(plan: Plan, prefix = ''): Expected[] {
  const fields = plan.fields.map(({ name, path, column: { codec, facts } }): Expected => {
    const optional = facts.required === undefined;
    const types = optional ? [...codec.bson, 'null'] : codec.bson;
    return { path: prefix + path.join('.'), column: name, types, optional };
  });
  const lists = plan.lists.flatMap(({ name, path, plan: inner }): Expected[] => [
    { path: prefix + path.join('.'), column: name, types: ['array'], optional: true },
    ...shapeOf(inner, `${prefix}${path.join('.')}[].`),
  ]);
  const entries = plan.entries.flatMap(({ name, entries: its }) =>
    Object.entries(its.fields).map(([field, codec]): Expected => ({
      path: prefix + field,
      column: name,
      types: codec.bson,
      optional: true,
    })),
  );
  const known = Object.entries(plan.residual?.residual.known ?? {}).map(([field, types]): Expected => ({
    path: prefix + field,
    column: plan.residual!.name,
    types,
    optional: true,
  }));
  const others = plan.fields.flatMap(({ name, places, column: { codec } }) =>
    places.slice(1).map(([first]): Expected => ({
      path: prefix + first!.join('.'),
      column: name,
      types: codec.bson,
      optional: true,
    })),
  );
  return [...fields, ...others, ...lists, ...entries, ...known];
}

/** Other spellings of fields, as `assess` counts those that nobody uses any more. */
export const aliasesOf = (plan: Plan): Readonly<Record<string, string>> =>
  Object.fromEntries(plan.spellings.map(([other, first]) => [other.join('.'), first.join('.')]));
