// Figures as people read them, with their units. Pure.

/** Digits in groups of three, set apart by a narrow space that does not break. */
export const count = (value: number): string =>
  (Number.isInteger(value) ? String(value) : value.toFixed(2)).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, '\u202f');

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  let left = value;
  for (; left >= 1024 && at < units.length - 1; at++) left /= 1024;
  return `${at === 0 ? left : left.toFixed(1)} ${units[at]}`;
}

export const percent = (share: number): string => `${Number((share * 100).toFixed(share < 0.001 ? 4 : 2))} %`;

/** From milliseconds; a dash for what was not measured. */
export function duration(ms: number | null): string {
  if (ms === null) return '–';
  if (ms < 10) return `${Number(ms.toFixed(2))} ms`;
  if (ms < 10_000) return `${count(Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours > 0 ? `${count(hours)} h ${minutes} min` : `${minutes} min ${Math.round(seconds % 60)} s`;
}

/** An instant to the second, with its zone. */
export const instant = (at: string): string => at.replace(/\.\d+Z$/, 'Z');

/** A cluster time seconds.increment with the instant it stands for. */
export function clusterInstant(position: string): string {
  const seconds = Number(position.split('.', 1)[0]);
  return Number.isFinite(seconds) && seconds > 0
    ? `${position} (${instant(new Date(seconds * 1000).toISOString())})`
    : position;
}

/** `1 document`, `2 documents`. */
export const many = (value: number, one: string, more = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : more}`;
