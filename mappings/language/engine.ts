// A declaration as the engine asks for it today: a Mapping, everything in it derived.
import { z } from 'zod';
import { files } from '../../stores/files/target.ts';
import { collection } from '../../stores/mongodb/target.ts';
import type { Column as TargetColumn, TableTarget } from '../../stores/postgres/target.ts';
import { keys } from '../../stores/redis/target.ts';
import type { Target } from '../../stores/store.ts';
import { Quarantined } from '../../core/quarantine.ts';
import { defineMapping, type Document, type Mapping, type UniqueRule } from '../mapping.ts';
import { Notes } from '../notes.ts';
import { defaultSettings, type TransformSettings } from '../settings.ts';
import { as } from '../shape.ts';
import { isNeverNull } from './check.ts';
import type { Settings } from './codec.ts';
import { indexesOf, uniqueSetsOf, type UniqueSet } from './ddl.ts';
import type { Declaration, To } from './declare.ts';
import { contentOf, spellingsOf, tablesOf } from './forward.ts';
import { contentFrom } from './nested.ts';
import { invariantsOf } from './invariants.ts';
import { referred } from './order.ts';
import { withFirstNames } from './paths.ts';
import { planOf, type Plan } from './plan.ts';
import { put } from './put.ts';
import { readField } from './read.ts';
import { rulesOf } from './rules.ts';
import { shapeOf } from './shape.ts';
import { madeTables, parentColumn, type Made } from './tables.ts';

/** `tableOf`: the table that a mapping's documents become rows of, for references. */
export function toMapping(declaration: Declaration, tableOf: (mapping: string) => string): Mapping {
  const tables = tablesOf(declaration);
  const plans = tables.map((table) => planOf(table.columns));
  return defineMapping({
    collection: declaration.collection,
    aliases: declaration.aliases,
    class: declaration.class,
    version: declaration.version,
    shape: z.looseObject(
      Object.fromEntries([['_id', as.any], ...plans.flatMap(shapeFields), ...declaration.to.flatMap(documentFields)]),
    ),
    otherNames: Object.fromEntries(
      spellingsOf(declaration).map(([other, first]) => [other.join('.'), first.join('.')]),
    ),
    targets: targetsOf(declaration, tableOf),
    after: referred(declaration).filter((name) => name !== declaration.collection),
    unique: tables.flatMap((table, i) => uniqueSetsOf(table, plans[i]!).map((set) => uniqueRule(plans[i]!, set))),
    skip: (document) => declaration.skip?.(document),
    transform: (document, notes, { zone, asOf, providers }) =>
      contentOf(declaration, document, notes, { zone, asOf, providers }).outcome,
    ...wayBack(declaration),
    rules: rulesOf(declaration),
    values: madeTables(declaration).flatMap(({ name, plan }) =>
      plan.residual ? [{ table: name, column: plan.residual.name, json: ['object' as const] }] : [],
    ),
    invariants: tables.flatMap((table) => invariantsOf(table).map((one) => ({ ...one, table: table.name }))),
    accessPatterns: declaration.accessPatterns,
    ...(declaration.mainRead && { mainRead: declaration.mainRead }),
    queries: declaration.queries,
  });
}

/** Documents of code of their own that say how their parts go back are put back part by part; everything else is put back as it is declared. */
function wayBack(declaration: Declaration): Pick<Mapping, 'put' | 'back'> {
  const [whole] = declaration.to.flatMap((target) => (target.store === 'mongodb' && target.back ? [target.back] : []));
  if (whole) return { put: undefined, back: whole };
  const tags = tablesOf(declaration).flatMap(({ columns }) =>
    Object.keys(planOf(columns).residual?.residual.tags ?? {}),
  );
  return {
    back: { tags },
    put({ sourceId, old, content, settings }) {
      const wanted = contentFrom(declaration, content);
      const { bytes, unrepresentable, refused } = put(declaration, {
        sourceId,
        old,
        wanted,
        settings: { ...settings },
      });
      return { bytes, unsaid: unrepresentable, refused };
    },
  };
}

const types: Readonly<Record<string, z.ZodType>> = {
  string: as.text,
  int: as.integer,
  long: as.integer,
  double: as.number,
  decimal: as.number,
  bool: as.boolean,
  date: as.date,
  objectId: as.objectId,
  object: as.object,
  array: as.array,
  null: z.null(),
};

/** Fields of the document itself: what is inside them is counted with their paths. */
function shapeFields(plan: Plan): [string, z.ZodType][] {
  return shapeOf(plan)
    .filter(({ path }) => !path.includes('[]'))
    .map(({ path, types: its, optional }) => {
      const type = path.includes('.') ? as.object : its.map((one) => types[one] ?? as.any).reduce((a, b) => a.or(b));
      return [path.split('.')[0]!, optional ? type.optional() : type];
    });
}

/** What a target made by code of its own expects of documents. */
const documentFields = (target: To): [string, z.ZodType][] =>
  target.store === 'mongodb'
    ? Object.entries(target.fields).map(([name, its]) => [
        name,
        its
          .map((one) => types[one] ?? as.any)
          .reduce((a, b) => a.or(b))
          .optional(),
      ])
    : [];

function targetsOf(declaration: Declaration, tableOf: (mapping: string) => string): Target[] {
  const tables = madeTables(declaration).map((made) => tableTarget(made, tableOf));
  const others = declaration.to.flatMap((target): Target[] => {
    if (target.store === 'redis') return [keys(target.name, { prefix: target.prefix, durable: target.durable ?? '' })];
    if (target.store === 'files') return [files(target.name, target)];
    return target.store === 'mongodb'
      ? [collection(target.name, { schema: target.schema, indexes: target.indexes })]
      : [];
  });
  return [...tables, ...others];
}

function tableTarget(made: Made, tableOf: (mapping: string) => string): TableTarget {
  const { plan, table, parent, key } = made;
  const sets = parent === undefined ? uniqueSetsOf(table, plan) : [];
  const indexes = indexesOf(parent === undefined ? table : { ...table, indexes: [] }, plan);
  return {
    store: 'postgres',
    name: made.name,
    columns: Object.fromEntries(
      made.columns.map(([name, type]) => [name, columnOf(made, name, type as TargetColumn['type'], tableOf)]),
    ),
    ...(parent === undefined && table.time !== undefined && { time: table.time }),
    ...(parent === undefined && table.lifecycle && { lifecycle: table.lifecycle }),
    ...(parent !== undefined && { child: { of: parent, column: parentColumn(parent), unique: key } }),
    ...(sets.length > 0 && {
      unique: sets.map((one) => one.columns),
      alsoUnique: sets.flatMap((one) => one.also.map((column) => [column])),
    }),
    ...(indexes.length > 0 && { indexes }),
  };
}

function columnOf(
  { plan, never }: Made,
  name: string,
  type: TargetColumn['type'],
  tableOf: (mapping: string) => string,
): TargetColumn {
  const field = plan.fields.find((one) => one.name === name)?.column;
  const derived = plan.derived.find((one) => one.name === name)?.derived;
  const refers = field?.codec.refers;
  if (refers) return { type: 'bigint', references: { table: tableOf(refers.mapping), by: refers.by } };
  const isNever = never.includes(name) || (field ? isNeverNull(field.facts) : derived !== undefined && !derived.null);
  return {
    type,
    ...(isNever && { notNull: true }),
    ...(derived?.sql !== undefined && { derived: { from: derived.from[0]!, sql: derived.sql } }),
  };
}

/** Documents with the same key are rivals; each is read as its columns read it, under the settings in force. */
function uniqueRule(plan: Plan, { rule, columns, rank, rankBy }: UniqueSet): UniqueRule {
  const valueOf = (document: Document, column: string, settings: Settings): unknown => {
    const field = plan.fields.find((one) => one.name === column);
    const derived = plan.derived.find((one) => one.name === column)?.derived;
    if (derived) return derived.make(...(derived.from.map((one) => valueOf(document, one, settings)) as never[]));
    try {
      const reading = { notes: new Notes(), settings, prefix: '', isRoot: true };
      return field ? readField(field, withFirstNames(plan.spellings, document), reading) : null;
    } catch (error) {
      // What sets the document aside by itself has no rivals.
      if (error instanceof Quarantined) return null;
      throw error;
    }
  };
  // What would lie in the future has its rivals all the same.
  const inForce = (settings: Omit<TransformSettings, 'asOf'> = defaultSettings): Settings => ({
    ...settings,
    asOf: Number.POSITIVE_INFINITY,
  });
  return {
    rule,
    path:
      plan.fields.find(({ name }) => columns[0] === name || columns[0] === `${name}_key`)?.path.join('.') ??
      columns[0]!,
    key(document, settings) {
      const values = columns.map((column) => valueOf(document, column, inForce(settings)));
      if (values.some((one) => one === null)) return undefined;
      return values.length === 1 && typeof values[0] === 'string'
        ? values[0]
        : JSON.stringify(values, (_, its: unknown) => (typeof its === 'bigint' ? String(its) : its));
    },
    rank: (document, settings) =>
      rankBy?.(document, inForce(settings)) ??
      rank.map((column) => sortable(valueOf(document, column, inForce(settings)))).join(' '),
  };
}

/** Text that sorts as the values do: nothing before everything. */
function sortable(value: unknown): string {
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (value === null || value === undefined) return '0'.padStart(17, '0');
  return typeof value === 'number' || typeof value === 'bigint'
    ? String(value).padStart(17, '0')
    : JSON.stringify(value);
}
