// The source's ways to write a moment. A moment is whole milliseconds plus 0-999 microseconds.

/** Stands for the real clock, so that a seed gives the same documents on any day. */
export const NOW = Date.UTC(2026, 5, 1);
/** Documents are spread over about 14 months before NOW. */
export const SPAN = 425 * 86_400_000;
export const START = NOW - SPAN;
const EIGHT_HOURS = 8 * 3_600_000;

export interface Moment {
  readonly time: number;
  readonly micros: number;
}

/** Python's isoformat() of the moment shifted to +08:00, without a zone; no fraction when it is zero. */
export function naiveLocal({ time, micros }: Moment): string {
  return naive(time + EIGHT_HOURS, micros);
}

/** The same on a host whose zone is UTC. */
export function naiveUtc({ time, micros }: Moment): string {
  return naive(time, micros);
}

export function withZone(moment: Moment): string {
  return `${naiveLocal(moment)}+08:00`;
}

/** What a verifier should find in a timestamptz column: UTC to the microsecond. */
export function instant({ time, micros }: Moment): string {
  return `${new Date(time).toISOString().slice(0, -1)}${String(micros).padStart(3, '0')}Z`;
}

/** Wall clock in Shanghai as digits, `20251105_013012`. */
export function localDigits(time: number): string {
  return `${localDay(time).replaceAll('-', '')}_${new Date(time + EIGHT_HOURS).toISOString().slice(11, 19).replaceAll(':', '')}`;
}

/** `2025-11-05` in Shanghai. */
export function localDay(time: number): string {
  return new Date(time + EIGHT_HOURS).toISOString().slice(0, 10);
}

/** The moment cut to whole seconds. */
export function wholeSeconds({ time }: Moment): Moment {
  return { time: time - (time % 1000), micros: 0 };
}

function naive(time: number, micros: number): string {
  const text = new Date(time).toISOString();
  if (micros === 0 && time % 1000 === 0) return text.slice(0, 19);
  return text.slice(0, 23) + (micros < 10 ? `00${micros}` : micros < 100 ? `0${micros}` : `${micros}`);
}
