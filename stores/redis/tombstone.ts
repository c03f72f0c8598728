// The name of a key's removals, which must be in the key's own slot: a script of a cluster sees one slot only.

const suffix = ':causeway';

/** Begins as the key does, after a brace where the key has no tag of its own. */
export function tombstoneKey(key: string): string {
  if (tagOf(key) !== undefined) return `${key}${suffix}`;
  const brace = key.indexOf('}');
  return brace < 0 ? `{${key}}${suffix}` : `{${sameSlot(key, brace)}}${key.slice(brace + 1)}${suffix}`;
}

export const isTombstone = (key: string): boolean =>
  key.endsWith(suffix) && tombstoneKey(key.slice(0, -suffix.length)) === key;

/** How the names of a prefix's keys and of their removals begin. */
export const beginningsOf = (prefix: string): string[] => [...new Set([prefix, `{${prefix}`])];

/** Redis's rule: what stands between the first `{` and the first `}` after it, if not empty; without one the whole key. */
function tagOf(key: string): string | undefined {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open + 1);
  return close > open + 1 ? key.slice(open + 1, close) : undefined;
}

const slots = 16384;

/** No tag can hold a brace: one is looked for that has the slot of the whole key. A few milliseconds, for a key that hardly anybody has. */
function sameSlot(key: string, brace: number): string {
  const wanted = crc16(Buffer.from(key)) % slots;
  const start = key.slice(0, brace);
  for (let n = 0; ; n++) if (crc16(Buffer.from(`${start}#${n}`)) % slots === wanted) return `${start}#${n}`;
}

/** CRC-16/XMODEM, as Redis Cluster computes slots. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}
