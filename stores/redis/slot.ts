// Slots of Redis Cluster, by Redis's own rule. The driver's package takes `{}a}` for the tag `a`, which costs a redirection; here it would part a key from its removals.

export const slots = 16384;

/** What stands between the first `{` and the first `}` after it decides, if not empty; without one the whole key. */
export function slotOf(key: string): number {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open + 1);
  return crc16(Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key)) % slots;
}

/** CRC-16/XMODEM. `from`: of the bytes before. */
export function crc16(bytes: Uint8Array, from = 0): number {
  let crc = from;
  for (const byte of bytes) crc = ((crc << 8) & 0xffff) ^ table[(crc >> 8) ^ byte]!;
  return crc;
}

const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});
