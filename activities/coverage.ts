// Whether a mapping gives every column what it must have: required columns have to come from somewhere.
import type { Document, Mapping } from '../mappings/mapping.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { transformDocument } from '../mappings/transform.ts';
import type { Row, TableTarget } from '../stores/postgres/target.ts';

/** Sentences about targets that can never be loaded: no primary target, children without parents, time columns that may be null. */
export function uncoveredColumns(mapping: Mapping): string[] {
  const problems: string[] = [];
  if (mapping.targets.length === 0) problems.push(`The mapping ${mapping.collection} has no target.`);
  for (const target of mapping.targets) {
    if (target.store !== 'postgres') continue;
    const { name, time, columns, child, unique } = target as TableTarget;
    const say = (what: string) => problems.push(`The mapping ${mapping.collection}, table ${name}: ${what}.`);
    if (time !== undefined && (columns[time]?.type !== 'timestamptz' || !columns[time].notNull))
      say(`the time column ${time} must be a NOT NULL timestamptz column`);
    if (child && !mapping.targets.some((other) => other.store === 'postgres' && other.name === child.of))
      say(`its parent ${child.of} is not a table of the same mapping`);
    for (const column of (unique ?? []).flat())
      if (!columns[column]) say(`the unique key names a column ${column} that is not there`);
  }
  return problems;
}

/** Sentences about required columns that no sampled document that loads gives a value, and about columns that are not there. */
export function uncoveredBySample(
  mapping: Mapping,
  documents: readonly Document[],
  settings: TransformSettings,
): string[] {
  const rows = new Map<string, Row[]>();
  for (const document of documents) {
    const result = transformDocument(mapping, document, settings);
    if (result.state !== 'loaded') continue;
    for (const [target, made] of Object.entries(result.outcome))
      rows.set(target, [...(rows.get(target) ?? []), ...(made as Row[])]);
  }
  const problems: string[] = [];
  for (const target of mapping.targets) {
    const made = target.store === 'postgres' ? rows.get(target.name) : undefined;
    if (!made || made.length === 0) continue;
    const { columns } = target as TableTarget;
    const required = Object.keys(columns).filter(
      (column) => columns[column]!.notNull && made.every((row) => row[column] === null || row[column] === undefined),
    );
    const unknown = [...new Set(made.flatMap((row) => Object.keys(row)).filter((column) => !(column in columns)))];
    if (required.length > 0)
      problems.push(
        `The mapping ${mapping.collection} gives the required column ${target.name}.${required.join(', ')} no value; add it to transform.`,
      );
    if (unknown.length > 0)
      problems.push(
        `The mapping ${mapping.collection} gives values for ${unknown.join(', ')}, which table ${target.name} does not declare.`,
      );
  }
  return problems;
}
