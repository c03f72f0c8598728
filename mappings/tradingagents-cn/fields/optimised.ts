// An optimised analysis on its way back: its symbol under every name, its local times, and what it keeps without a place of its own.
import type { BackSettings, Change } from '../../back/declaration.ts';
import type { Document } from '../../mapping.ts';
import { unarchived } from './archive.ts';
import { zoneOffset } from '../../fields/instant.ts';
import { symbolLike } from './symbol.ts';

/** What an analysis may call its symbol, most preferred first. */
export const symbolFields = ['symbol', 'stock_symbol', 'stock_code', 'code', 'ticker'] as const;
/** Fields of which some inner ones have a place of their own and the others have none. */
const mixed = new Set(['reports', 'state', 'decision']);

/** Every name of the symbol that held the same as the one it is read from. */
export function symbolChanges(_: string, symbol: unknown, document: Document): Change[] {
  const filled = symbolFields.filter((name) => ![undefined, null, ''].includes(document[name] as undefined));
  const old = document[filled[0] ?? 'symbol'];
  const names = filled.filter((name) => String(document[name]) === String(old));
  return symbolLike(symbol, old).map((value) =>
    (names.length > 0 ? names : ['symbol']).map((name) => ({ path: [name], value })),
  );
}

/** One writer stored local times as if they were UTC. */
export function localTimes(value: unknown, old: unknown, { zone }: BackSettings): Date[] {
  if (!(value instanceof Date) || (old !== undefined && old !== null && !(old instanceof Date))) return [];
  const near = zoneOffset(zone, value.getTime());
  return [value, new Date(value.getTime() + zoneOffset(zone, value.getTime() + near * 60_000) * 60_000)];
}

/** Fields without a place of their own, by name; those of `reports`, `state` and `decision` one by one. */
export function residualParts(value: unknown): Record<string, unknown> {
  const { original: _, ...rest } = plainObject(plainResidual(value));
  return Object.fromEntries(
    Object.entries(rest).flatMap(([name, its]) =>
      mixed.has(name)
        ? Object.entries(plainObject(its)).map(([inner, one]) => [`${name}.${inner}`, one])
        : [[name, its] as const],
    ),
  );
}

export function restChanges(key: string, value: unknown): Change[] {
  const [name, inner] = [key.replace(/\..*$/s, ''), key.replace(/^[^.]*\./s, '')];
  return [[{ path: mixed.has(name) && inner !== key ? [name, inner] : [key], value: unarchived(value) }]];
}

/** Where names with dots made a list of it, see `archived`. */
function plainResidual(value: unknown): unknown {
  const { fields, ...others } = plainObject(unarchived(value));
  return fields !== undefined && Object.keys(others).length === 0 && !Array.isArray(fields)
    ? fields
    : unarchived(value);
}

/** What was kept of the original document, by path, as `Notes.keep` wrote it. */
export function keptOf(document: Document): Record<string, unknown> {
  const { original } = plainObject(plainResidual(document['residual']));
  if (!Array.isArray(original)) return plainObject(original);
  return Object.fromEntries((original as { k: string; v: unknown }[]).map(({ k, v }) => [k, v]));
}

/** The value's fields if it is an object of fields; none otherwise. */
export function plainObject(value: unknown): Record<string, unknown> {
  if (
    value === null ||
    typeof value !== 'object' ||
    Array.isArray(value) ||
    value instanceof Date ||
    '_bsontype' in value
  )
    return {};
  return value as Record<string, unknown>;
}
