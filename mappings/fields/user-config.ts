// A user's nested settings as JSON: objects, lists, JSON in text, comma-separated symbols.
import { isBsonScalar, toJson } from './json.ts';
import type { Notes } from '../notes.ts';
import { researchDepth } from './depth.ts';

/** The JSON of a settings field, or undefined where there is none to keep; the original is kept where the JSON alone does not give it back. */
export function readConfig(value: unknown, path: string, notes: Notes): unknown {
  if (value === undefined) return undefined;
  const parsed = typeof value === 'string' ? parse(value) : value;
  if (typeof value === 'string' || value === null) notes.keep(path, value);
  if (parsed === null || parsed === undefined) return undefined;
  if (typeof parsed !== 'object' || isBsonScalar(parsed)) {
    notes.keep(path, value);
    notes.warn(`${path}_not_settings`);
    return undefined;
  }
  return toJson(parsed, path, notes);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** default_depth has two vocabularies; the new application knows 1 to 5. */
export function withDepth(preferences: unknown, notes: Notes): unknown {
  if (preferences === null || typeof preferences !== 'object' || Array.isArray(preferences)) return preferences;
  const { default_depth: depth } = preferences as { default_depth?: unknown };
  const number = typeof depth === 'string' || typeof depth === 'number' ? depthNumber(depth) : undefined;
  if (number === undefined || number === depth) return preferences;
  notes.keep('preferences.default_depth', depth);
  return { ...preferences, default_depth: number };
}

const depthNumber = (depth: string | number): number | undefined =>
  typeof depth === 'number' ? depth : researchDepth(depth);

/** Strings, objects, a dictionary by symbol or comma text, as a list of `{ symbol, ... }`. Anything but a list of such objects is kept. */
export function readWatchlist(value: unknown, notes: Notes): unknown {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && parse(value) === undefined) {
    notes.keep('watchlist', value);
    const symbols = value.split(/[,;，；\s]+/).filter(Boolean);
    return symbols.length === 0 ? undefined : symbols.map((symbol) => ({ symbol: symbol.replaceAll('\u0000', '') }));
  }
  const json = readConfig(value, 'watchlist', notes);
  if (json === undefined) return undefined;
  const entries: unknown[] = Array.isArray(json)
    ? json
    : Object.entries(json as object).map(([symbol, its]) =>
        isPlain(its) ? { symbol, ...its } : { symbol, value: its },
      );
  if (!Array.isArray(json) || entries.some((entry) => !isPlain(entry) || !('symbol' in entry)))
    notes.keep('watchlist', value);
  return entries.map((entry) => (typeof entry === 'string' ? { symbol: entry } : entry));
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);
