// The way back without stores: what PostgreSQL would give back of a document's rows, and what a rebuilt document has that the one before had otherwise.
import { parseJson } from '../../mappings/back/json.ts';
import { cellsOf, sameCell } from '../../mappings/back/cells.ts';
import { elementsOf } from '../../mappings/back/elements.ts';
import type { Mapping, Outcome } from '../../mappings/mapping.ts';
import { contentOf, type PutSettings } from '../../mappings/way-back.ts';
import { Parent, Reference, type Column, type Row, type TableTarget } from '../../stores/postgres/target.ts';

/** Values as PostgreSQL gives them back: jsonb parsed anew, numbers with all the digits of their scale, references as the row that is looked for first. */
export function readBack(mapping: Mapping, content: Outcome): Outcome {
  const back = (column: Column | undefined, value: unknown) => {
    if (value instanceof Reference) {
      const [by, key] = value.candidates[0]!;
      return new Parent(value.table, 1n, { [by]: key });
    }
    if (column?.type === 'jsonb' && value !== null && value !== undefined) return parseJson(JSON.stringify(value));
    const scale = /^numeric\(\d+,(\d+)\)$/.exec(column?.type ?? '')?.[1];
    if (scale === undefined || typeof value !== 'string') return value;
    const [whole, fraction = ''] = value.split('.');
    return `${whole}.${fraction.padEnd(Number(scale), '0')}`;
  };
  return Object.fromEntries(
    mapping.targets.flatMap((target) => {
      const rows = content[target.name];
      if (!rows || target.store !== 'postgres') return rows ? [[target.name, rows]] : [];
      const { columns } = target as TableTarget;
      const read = (rows as Row[]).map((row) =>
        Object.fromEntries(Object.entries(row).map(([column, value]) => [column, back(columns[column], value)])),
      );
      return [[target.name, read]];
    }),
  ) as Outcome;
}

/** Names of cells in which the document's own content is another. */
export function differing(mapping: Mapping, bytes: Uint8Array, content: Outcome, settings: PutSettings): string[] {
  const found = contentOf(mapping, bytes, settings);
  if (!found) return ['it does not load'];
  const [a, b] = [cellsOf(mapping, found), cellsOf(mapping, content)];
  return [...new Set([...a.keys(), ...b.keys()])].filter((name) => !sameCell(a.get(name), b.get(name)));
}

/** Fields, by first name, that are not byte for byte what they were. */
export function touched(mapping: Mapping, before: Uint8Array, after: Uint8Array): string[] {
  const first = (name: string) => mapping.otherNames[name] ?? name;
  const [old, now] = [elementsOf(before), elementsOf(after)];
  const same = (name: string) => {
    const [a, b] = [old.filter((one) => one.name === name), now.filter((one) => one.name === name)];
    return (
      a.length === b.length &&
      a.every((one, i) => one.type === b[i]!.type && Buffer.compare(one.value, b[i]!.value) === 0)
    );
  };
  const names = [...new Set([...old, ...now].map((one) => one.name))];
  return names.filter((name) => !same(name)).map(first);
}

/** Whether the fields that both have stand in the order they had, and new ones after them. */
export function keepsOrder(before: Uint8Array, after: Uint8Array): boolean {
  const [old, now] = [elementsOf(before), elementsOf(after)].map((some) => some.map((one) => one.name));
  const kept = old!.filter((name) => now!.includes(name));
  return now!.slice(0, kept.length).join('\n') === kept.join('\n');
}
