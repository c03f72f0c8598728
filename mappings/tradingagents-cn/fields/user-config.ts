// A user's nested settings as JSON: objects, lists, JSON in text, comma-separated symbols.
import type { Change } from '../../back/declaration.ts';
import type { Document } from '../../mapping.ts';
import { Notes } from '../../notes.ts';
import { depthLike, researchDepth } from './depth.ts';
import { isBsonScalar, toJson } from '../../fields/json.ts';

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

/** Changes to a settings field that give it these settings, in the form and the vocabulary it has. */
export function configChanges(field: string, settings: unknown, document: Document): Change[] {
  const path = [field];
  if (settings === undefined) return [undefined, null].map((value) => [{ path, value }]);
  const old = document[field];
  const json = parsedJson(old);
  const forms =
    field === 'watchlist'
      ? watchlistsLike(settings, old, json)
      : field === 'preferences'
        ? preferencesLike(settings, json)
        : [];
  const text = forms.filter((form) => typeof form === 'string');
  const others = [...forms.filter((form) => typeof form !== 'string'), settings];
  return [...text.map((value) => [{ path, value }]), ...others.map((one) => [{ path, json: one }])];
}

function parsedJson(value: unknown): unknown {
  if (typeof value === 'string') return parse(value);
  return value === undefined ? undefined : toJson(value, '', new Notes());
}

/** default_depth as it stood there where it says the same, else in the same vocabulary. */
function preferencesLike(settings: unknown, old: unknown): unknown[] {
  if (!isPlain(settings) || !isPlain(old)) return [];
  const { default_depth: depth } = settings;
  const { default_depth: before } = old;
  if (typeof before !== 'string' || depth === undefined || depth === before) return [];
  const words = depthNumber(before) === depth ? [before] : depthLike(depth, before);
  return words.map((word) => ({ ...settings, default_depth: word }));
}

/** The list as the dictionary, the plain symbols or the comma text that stood there, where it can be said so. */
function watchlistsLike(settings: unknown, old: unknown, json: unknown): unknown[] {
  if (!Array.isArray(settings)) return [];
  const bare = settings.map((entry: unknown) =>
    isPlain(entry) && typeof entry['symbol'] === 'string' && Object.keys(entry).length === 1 ? entry['symbol'] : entry,
  );
  if (typeof old === 'string' && json === undefined) {
    const separator = /[,;，；]\s*|\s+/.exec(old)?.[0] ?? ',';
    return bare.every((entry) => typeof entry === 'string') ? [bare.join(separator)] : [];
  }
  if (isPlain(json)) return settings.every(hasSymbol) ? [dictionaryLike(settings, json)] : [];
  if (!Array.isArray(json)) return [];
  const had = new Set(json.filter((entry) => typeof entry === 'string'));
  const all = json.length > 0 && json.every((entry) => typeof entry === 'string');
  return had.size === 0
    ? []
    : [bare.map((entry, i) => (all || had.has(entry as string) ? entry : (settings[i] as unknown)))];
}

const hasSymbol = (entry: unknown): entry is { symbol: string } =>
  isPlain(entry) && typeof entry['symbol'] === 'string';

function dictionaryLike(
  settings: readonly { symbol: string }[],
  old: Record<string, unknown>,
): Record<string, unknown> {
  return Object.fromEntries(
    settings.map((entry) => {
      const { symbol, ...its } = entry as { symbol: string; value?: unknown };
      const key = Object.keys(old).find((one) => isPlain(old[one]) && old[one]['symbol'] === symbol);
      if (key !== undefined) return [key, entry];
      const single = Object.keys(its).join() === 'value' && !isPlain(old[symbol]);
      return [symbol, single ? its.value : its];
    }),
  );
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);
