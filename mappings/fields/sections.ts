// The parts of an analysis, from wherever a version of the application put them, as one list of { name, content }.
import type { Notes } from '../notes.ts';
import { cleanText } from './text.ts';

export interface Section {
  readonly name: string;
  readonly content: string;
}

/**
 * From `reports` as an object of texts, one text, a list of { name, content }, `{ markdown, generated_at }`, null or nothing.
 * What is not text is returned in `rest`, to be kept.
 */
export function readReports(value: unknown, notes: Notes): { sections: Section[]; rest: unknown } {
  if (value === undefined || value === null) return { sections: [], rest: value };
  if (typeof value === 'string')
    return { sections: [{ name: 'report', content: cleanText(value, 'reports', notes) }], rest: undefined };
  const entries: [string, unknown][] = Array.isArray(value)
    ? value.map((one, i) => listed(one, i))
    : Object.entries(value as object);
  return textsOf(entries, 'reports', notes);
}

function listed(one: unknown, index: number): [string, unknown] {
  const { name, content, ...more } = (one ?? {}) as { name?: unknown; content?: unknown };
  return typeof name === 'string' && typeof content === 'string' && Object.keys(more).length === 0
    ? [name, content]
    : [String(index), one];
}

/** Texts become sections; everything else stays together under its name. */
export function textsOf(
  entries: readonly (readonly [string, unknown])[],
  path: string,
  notes: Notes,
): { sections: Section[]; rest: unknown } {
  const sections: Section[] = [];
  const rest: Record<string, unknown> = {};
  for (const [name, content] of entries) {
    if (typeof content === 'string') sections.push({ name, content: cleanText(content, `${path}.${name}`, notes) });
    else rest[name] = content;
  }
  return { sections, rest: Object.keys(rest).length === 0 ? undefined : rest };
}
