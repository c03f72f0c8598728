// The parts of an analysis, from wherever a version of the application put them, as one list of { name, content }.
import type { Change } from '../../back/declaration.ts';
import type { Notes } from '../../notes.ts';
import { setOwn } from '../../../core/bson/decode.ts';
import { cleanText } from '../../fields/text.ts';

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

/** Sections by name; the second of a name as `name (2)`. */
export function sectionsByName(value: unknown): Record<string, unknown> {
  if (!Array.isArray(value)) return {};
  const found = new Map<string, unknown>();
  for (const one of value as readonly Partial<Section>[]) {
    const name = String(one?.name);
    let key = name;
    for (let n = 2; found.has(key); n++) key = `${name} (${n})`;
    found.set(key, one);
  }
  return Object.fromEntries(found);
}

/** Changes to `reports` or `state` that give a section other content; undefined takes it out. */
export function sectionChanges(key: string, section: unknown, document: Record<string, unknown>): Change[] {
  const [, name, number] = /^(.*?)(?: \((\d+)\))?$/s.exec(key)!;
  const content = section === undefined ? undefined : (section as Partial<Section>).content;
  const reports: Change[] = [key, name!].map((one) => [
    { path: ['reports'], make: (old) => withReport(old, one, one === key ? 1 : Number(number), content) },
  ]);
  if (!key.startsWith('state.')) return reports;
  const state: Change = [{ path: ['state', key.slice('state.'.length)], value: content }];
  const { reports: old } = document;
  const holds = old !== null && typeof old === 'object' && Object.hasOwn(old, key);
  return holds ? [...reports, state] : [state, ...reports];
}

/** `reports` in the form it has, with the content of the `number`-th section of a name. */
function withReport(reports: unknown, name: string, number: number, content: unknown): unknown {
  if (typeof reports === 'string') {
    if (name === 'report') return content;
    return content === undefined ? reports : { report: reports, [name]: content };
  }
  if (Array.isArray(reports)) return withListed(reports, name, number, content);
  const { [name]: _, ...others } = (reports ?? {}) as Record<string, unknown>;
  if (content !== undefined) return { ...(reports as object | null), [name]: content };
  return reports === undefined || reports === null ? reports : others;
}

function withListed(reports: readonly unknown[], name: string, number: number, content: unknown): unknown[] {
  let met = 0;
  const at = reports.findIndex((one, i) => {
    const [its, text] = listed(one, i);
    return its === name && typeof text === 'string' && ++met === number;
  });
  if (at === -1) return content === undefined ? [...reports] : [...reports, { name, content }];
  if (content === undefined) return reports.toSpliced(at, 1);
  return reports.with(at, typeof reports[at] === 'string' ? content : { ...(reports[at] as object), content });
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
    else setOwn(rest, name, content);
  }
  return { sections, rest: Object.keys(rest).length === 0 ? undefined : rest };
}
