// Wall-clock times of a zone: which instants they may be. A time that a clock change skips is none, one that it repeats is two.

const formats = new Map<string, Intl.DateTimeFormat>();
const offsets = new Map<string, number>();

/** Minutes east of UTC at an instant. */
function offsetAt(zone: string, millis: number): number {
  const quarter = Math.floor(millis / 900_000);
  const key = `${zone} ${quarter}`;
  let offset = offsets.get(key);
  if (offset === undefined) {
    let format = formats.get(zone);
    if (!format)
      formats.set(zone, (format = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' })));
    const name = format.formatToParts(new Date(quarter * 900_000)).find((part) => part.type === 'timeZoneName')?.value;
    const found = /GMT([+-])(\d{2}):(\d{2})/.exec(name ?? '');
    offset = found ? (found[1] === '-' ? -1 : 1) * (Number(found[2]) * 60 + Number(found[3])) : 0;
    if (offsets.size > 50_000) offsets.clear();
    offsets.set(key, offset);
  }
  return offset;
}

/** The instants, earliest first, at which clocks of the zone show this time. */
export function instantsOf(zone: string, localMillis: number): number[] {
  const around = [-86_400_000, 86_400_000].map((away) => offsetAt(zone, localMillis + away));
  const found = [...new Set(around)].map((minutes) => localMillis - minutes * 60_000);
  return found.filter((millis) => millis + offsetAt(zone, millis) * 60_000 === localMillis).sort((a, b) => a - b);
}

/** What a time that clocks skip becomes: as far behind the change as it was meant to be. */
export const afterGap = (zone: string, localMillis: number): number =>
  localMillis - offsetAt(zone, localMillis - 86_400_000) * 60_000;

export const localAt = (zone: string, millis: number): number => millis + offsetAt(zone, millis) * 60_000;
