// The way back of one document: what the targets hold is put into the document as the old system holds it. Pure; the forward direction is the judge.
import { idFromSourceId } from '../../core/identity.ts';
import { documentOf, elementOf, elementsOf, type Element } from '../back/elements.ts';
import type { Document } from '../mapping.ts';
import type { Settings } from './codec.ts';
import type { Declaration, Table } from './declare.ts';
import { forward, tablesOf, type Content, type Forward } from './forward.ts';
import { planOf, type Plan } from './plan.ts';
import { putRow } from './put-row.ts';
import { differing } from './row-equal.ts';

export interface Put {
  /** The very bytes that were given, where nothing has changed. */
  readonly bytes: Uint8Array;
  /** `orders.total`: what the targets hold and no document says. */
  readonly unrepresentable: readonly string[];
  /** The forward direction would not take the document: `bytes` are those that were given, and nothing is to be written. */
  readonly refused?: { readonly rule: string; readonly path: string };
}

/** Nothing lies in the future of the way back: the forward direction is only asked what a value means. */
const endOfTime = Number.POSITIVE_INFINITY;

/**
 * `old`: the document that the old system holds; undefined for one that it does not have. `wanted`: rows as they are read back, child rows within them.
 * `sourceId`: of a document that was made from one, or what is known of it; a document born in the new system gets the `_id` that its mapping says.
 */
export function put(
  declaration: Declaration,
  {
    sourceId,
    old,
    wanted,
    settings,
  }: { sourceId: string; old: Uint8Array | undefined; wanted: Content; settings: Omit<Settings, 'asOf'> },
): Put {
  const inForce: Settings = { ...settings, asOf: endOfTime };
  const base = old ?? draft(declaration, sourceId, wanted);
  let bytes = base;
  const told = new Set<string>();
  for (const table of tablesOf(declaration)) {
    const row = wanted.rows[table.name];
    if (!row) continue;
    const result = putRow(planOf(table.columns), bytes, row, {
      settings: inForce,
      isRoot: true,
      isNew: old === undefined,
    });
    bytes = result.bytes;
    for (const name of result.unrepresentable) told.add(`${table.name}.${name}`);
  }
  for (const target of declaration.to)
    if (target.store === 'mongodb' && target.put && wanted.documents[target.name]) {
      const whole = target.put(wanted.documents[target.name]!, bytes, inForce);
      if (whole.refused) return { bytes: base, unrepresentable: whole.unrepresentable, refused: whole.refused };
      bytes = whole.bytes;
      for (const name of whole.unrepresentable) told.add(name);
    }
  // What was taken apart and put together again may be what it was.
  if (old && Buffer.compare(bytes, old) === 0) bytes = old;
  if (bytes === old) return { bytes, unrepresentable: [...told] };
  if (!old) bytes = inDeclaredOrder(tablesOf(declaration), bytes);
  const result = forward(declaration, bytes, inForce);
  if (result.state === 'loaded') return { bytes, unrepresentable: unsaid(declaration, result, wanted, told) };
  const path = result.state === 'quarantined' ? result.path : '';
  const all = tablesOf(declaration).map((table) => table.name);
  return { bytes: base, unrepresentable: told.size > 0 ? [...told] : all, refused: { rule: result.rule, path } };
}

function unsaid(
  declaration: Declaration,
  { content }: Extract<Forward, { state: 'loaded' }>,
  wanted: Content,
  told: ReadonlySet<string>,
): string[] {
  const wrong = tablesOf(declaration).flatMap((table) => {
    const row = wanted.rows[table.name];
    return row
      ? differing(planOf(table.columns), content.rows[table.name]!, row).map((name) => `${table.name}.${name}`)
      : [];
  });
  // Of a list that is not right, its columns are told.
  const inside = [...told].filter((name) => wrong.some((one) => name.startsWith(`${one}.`)));
  const whole = [...told].filter((name) =>
    declaration.to.some((one) => one.store === 'mongodb' && name.startsWith(`${one.name}.`)),
  );
  return [...whole, ...wrong.filter((one) => !inside.some((name) => name.startsWith(`${one}.`))), ...inside];
}

/** A document of which nothing is left but what it is called. */
function draft(declaration: Declaration, sourceId: string, { documents }: Content): Uint8Array {
  const [document] = Object.values(documents) as readonly (Document | undefined)[];
  const id = document ? document['_id'] : idFromSourceId(sourceId);
  const saysIt = tablesOf(declaration).some((table) =>
    planOf(table.columns).fields.some(({ column }) => column.facts.id),
  );
  return documentOf(id === undefined || saysIt ? [] : [elementOf('_id', id)]);
}

/** Fields in the order in which the mapping names them, others after them: the same content always gives the same bytes. */
function inDeclaredOrder(tables: readonly Table[], bytes: Uint8Array): Uint8Array {
  const order = new Map<string, number>([['_id', -1]]);
  const add = (plan: Plan) => {
    for (const name of namesOf(plan)) if (!order.has(name)) order.set(name, order.size);
  };
  for (const table of tables) add(planOf(table.columns));
  const rank = ({ name }: Element) => order.get(name) ?? order.size;
  return documentOf(elementsOf(bytes).sort((a, b) => rank(a) - rank(b)));
}

/** The document's own fields that members are read from, in the order of the members. */
function namesOf(plan: Plan): string[] {
  return Object.entries(plan.columns).flatMap(([name, member]) => {
    if (member.kind === 'column')
      return plan.fields
        .find((one) => one.name === name)!
        .places.flat()
        .map(([first]) => first!);
    if (member.kind === 'rows') return [member.path.split('.')[0]!];
    return member.kind === 'entries' ? Object.keys(member.fields) : [];
  });
}
