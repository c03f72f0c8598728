// The mappings of an application together: what one says of another, and one message about everything that is wrong.
import { problemsOf } from './check.ts';
import type { Declaration } from './declare.ts';
import { orderOf } from './order.ts';
import { madeTables } from './tables.ts';

/** `from`: the file or package that a declaration was loaded from. */
export interface Loaded {
  readonly from: string;
  readonly declaration: Declaration;
}

export class MappingRefused extends Error {
  override readonly name = 'MappingRefused';
}

/** The declarations in the order of loading. `others`: mappings beside them that are made in code of their own. Throws MappingRefused with a line for each problem: file, column and mend. */
export function checked(loaded: readonly Loaded[], others: readonly string[] = []): readonly Declaration[] {
  const problems = loaded.flatMap(({ from, declaration }) => problemsOf(declaration).map((one) => `${from}: ${one}.`));
  // Between mappings that are not whole, nothing can be said.
  if (problems.length === 0) problems.push(...between(loaded, others));
  if (problems.length > 0) throw new MappingRefused(`The mappings are refused:\n${problems.join('\n')}`);
  const declarations = loaded.map((one) => one.declaration);
  return orderOf(declarations).loaded.map((name) => declarations.find((one) => one.collection === name)!);
}

function between(loaded: readonly Loaded[], others: readonly string[]): string[] {
  const problems: string[] = [];
  const sources = new Map<string, string>();
  const places = new Map<string, string>();
  const claim = (claims: Map<string, string>, what: string, from: string, mend: string) => {
    const other = claims.get(what);
    if (other !== undefined) problems.push(`${from}: ${what} is also that of ${other}: ${mend}.`);
    claims.set(what, from);
  };
  for (const { from, declaration } of loaded) {
    for (const name of [declaration.collection, ...declaration.aliases])
      claim(sources, `the source collection ${name}`, from, 'one mapping copies it');
    for (const { name } of madeTables(declaration))
      claim(places, `the table ${name}`, from, 'give one of them another name');
    for (const { store, name } of declaration.to)
      if (store !== 'postgres') claim(places, `${store} ${name}`, from, 'give one of them another name');
  }
  const byName = new Map(loaded.map((one) => [one.declaration.collection, one.declaration]));
  for (const { from, declaration } of loaded) {
    for (const other of declaration.after)
      if (!byName.has(other) && !others.includes(other))
        problems.push(`${from}: it comes after ${other}, which is no mapping: take it out, or add that mapping.`);
    for (const { name, plan } of madeTables(declaration))
      for (const { name: column, column: its } of plan.fields) {
        const { refers } = its.codec;
        if (!refers) continue;
        const parent = byName.get(refers.mapping);
        if (!parent && others.includes(refers.mapping)) continue;
        if (!parent) {
          problems.push(
            `${from}: ${name}.${column} refers to ${refers.mapping}, which is no mapping: name one of ${[...byName.keys()].join(', ')}.`,
          );
          continue;
        }
        const [root] = madeTables(parent);
        for (const by of refers.by)
          if (by !== 'source_id' && !root?.columns.some(([one]) => one === by))
            problems.push(
              `${from}: ${name}.${column} finds its row by ${root?.name ?? refers.mapping}.${by}, which is no column: name one of it.`,
            );
      }
  }
  for (const cycle of orderOf(loaded.map((one) => one.declaration)).cycles) {
    const from = loaded.find((one) => one.declaration.collection === cycle[0])!.from;
    problems.push(
      `${from}: ${cycle.join(' refers to ')}: a circle. Leave out one ref(), and check it by a rule with sql.`,
    );
  }
  return problems;
}
