// What may stand in a report: free text without addresses, people and ids; check results without contents. Pure.
import type { Details } from './shape.ts';

const longest = 500;

const replacements: readonly (readonly [RegExp, string])[] = [
  [/\b[a-z][a-z0-9+.-]*:\/\/[^\s"'<>]+/gi, '[address]'],
  [/[^\s@"'<>]+@[^\s@"'<>]+/g, '[e-mail]'],
  [/\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH)\s+[^\s,;)]+/g, '$1 [address]'],
  [/\[[0-9a-f:]*:[0-9a-f:.]*\](:\d+)?/gi, '[address]'],
  [/\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b/g, '[address]'],
  [/\b[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)*:\d{2,5}\b(?!:)/gi, '[address]'],
  [/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi, '[id]'],
  [/\b[0-9a-f]{24}\b/gi, '[id]'],
];
/** Times of day look like a host and a port; they are kept. */
const instant = /\b\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?/g;

/** Words of people and of failures, as far as they may be shown to everybody. */
export function plain(text: string): string {
  const instants: string[] = [];
  // U+E000 is in the private use area: no text of ours has it.
  let result = text.replaceAll('\uE000', '').replace(instant, (found) => `\uE000${instants.push(found) - 1}\uE000`);
  for (const [pattern, by] of replacements) result = result.replace(pattern, by);
  result = result.replace(/\uE000(\d+)\uE000/g, (_, index: string) => instants[Number(index)] ?? '');
  return result.length > longest ? `${result.slice(0, longest)}…` : result;
}

/** Keys whose strings are names of ours: rules, tables, statuses. Any other string may come from a document. */
const named = new Set(
  'action becomes by check checkpoint collection column currency day field kind mode name phase provider query reason rule side stage status store table target to unit why'.split(
    ' ',
  ),
);
const listed = new Set(['differs', 'not_enrolled', 'collections', 'columns', 'paths']);
const most = 60;

/** Numbers, and strings that are names of ours; of everything else how much there is. `record_id`, examples and values stay out. */
export function detailsOf(value: unknown, name = ''): Details {
  const all = [...flatten(value, name)];
  return all.length <= most
    ? all
    : [...all.slice(0, most), { name: 'more', value: `${all.length - most} figures are in migration_control` }];
}

function* flatten(value: unknown, path: string): Generator<Details[number]> {
  const key = path.split('.').at(-1) ?? '';
  if (value === null || value === undefined) return;
  if (typeof value === 'number' || typeof value === 'boolean') yield { name: path, value: figure(value) };
  else if (typeof value === 'string') {
    if (named.has(key)) yield { name: path, value: plain(value) };
  } else if (Array.isArray(value)) {
    if (value.length === 0) return;
    const strings = value.every((one) => typeof one === 'string');
    if (strings && listed.has(key)) yield { name: path, value: plain(value.join(', ')) };
    else if (value.every((one) => typeof one === 'object' && one !== null && !Array.isArray(one)))
      for (const [i, one] of value.entries()) yield* ofItem(one as Record<string, unknown>, path, i);
    else yield { name: path, value: `${value.length}, not shown` };
  } else if (typeof value === 'object')
    for (const [inner, its] of Object.entries(value)) yield* flatten(its, path === '' ? inner : `${path}.${inner}`);
}

/** One line per item, under the name it gives itself. */
function* ofItem(item: Record<string, unknown>, path: string, index: number): Generator<Details[number]> {
  const label = ['rule', 'target', 'name', 'query', 'check'].find((key) => typeof item[key] === 'string');
  const { [label ?? '']: title, ...rest } = item;
  const parts = [...flatten(rest, '')].map((one) => `${one.name} ${one.value}`);
  if (parts.length > 0 || label)
    yield {
      name: `${path === '' ? '' : `${path}: `}${label ? plain(String(title)) : index + 1}`,
      value: parts.join('; '),
    };
}

const figure = (value: number | boolean): string =>
  typeof value === 'boolean'
    ? value
      ? 'yes'
      : 'no'
    : Number.isInteger(value)
      ? String(value)
      : String(Number(value.toPrecision(6)));
