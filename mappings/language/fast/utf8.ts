// Whether bytes are text that PostgreSQL takes: valid UTF-8 without a zero.

export function isPlainText(bytes: Buffer, at: number, end: number): boolean {
  for (let i = at; i < end; i++) {
    const byte = bytes[i]!;
    if (byte === 0) return false;
    if (byte > 127) return isPlainBeyondAscii(bytes, i, end);
  }
  return true;
}

function isPlainBeyondAscii(bytes: Buffer, at: number, end: number): boolean {
  for (let i = at; i < end;) {
    const first = bytes[i]!;
    if (first === 0) return false;
    if (first < 128) {
      i++;
      continue;
    }
    const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || i + length > end) return false;
    const second = bytes[i + 1]!;
    // No surrogates, nothing said longer than need be, nothing beyond U+10FFFF.
    const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (second < low || second > high) return false;
    for (let k = 2; k < length; k++) if (bytes[i + k]! < 0x80 || bytes[i + k]! > 0xbf) return false;
    i += length;
  }
  return true;
}
