// Tables for people, JSON for scripts.
import Table from 'cli-table3';

export const print = (text: string): void => void process.stdout.write(`${text}\n`);
export const printJson = (value: unknown): void =>
  print(JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner), 2));

export type Cell = string | number | null | undefined;

/** Numbers are set right-aligned with thin groups; the first column is text. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const numeric = head.map(
    (_, i) =>
      rows.length > 0 && rows.every((row) => typeof row[i] === 'number' || row[i] === null || row[i] === undefined),
  );
  const made = new Table({
    head: [...head],
    colAligns: numeric.map((is) => (is ? 'right' : 'left')),
    style: { head: process.stdout.isTTY ? ['cyan'] : [], border: [], compact: true },
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '',
      'left-mid': '',
      mid: '',
      'mid-mid': '',
      right: '',
      'right-mid': '',
      middle: '  ',
    },
  });
  for (const row of rows) made.push(row.map((cell) => (typeof cell === 'number' ? count(cell) : (cell ?? ''))));
  return made.toString().replace(/[ \t]+$/gm, '');
}

export const count = (value: number): string =>
  Number.isInteger(value) ? value.toLocaleString('en-US').replaceAll(',', ' ') : value.toFixed(2);

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  let left = value;
  for (; left >= 1024 && at < units.length - 1; at++) left /= 1024;
  return `${at === 0 ? left : left.toFixed(1)} ${units[at]}`;
}
