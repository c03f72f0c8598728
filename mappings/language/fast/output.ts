// COPY binary as it is written: a buffer that grows and is used again. Numbers stand highest byte first.
import type { FastOutput } from '../codec.ts';

export class CopyOutput implements FastOutput {
  bytes: Buffer;
  at = 0;

  constructor(size = 1 << 20) {
    this.bytes = Buffer.allocUnsafe(size);
  }

  /** There is room for so many more bytes. */
  room(size: number): void {
    if (this.at + size <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.at + size));
    this.bytes.copy(larger, 0, 0, this.at);
    this.bytes = larger;
  }

  /** What stands in it; gone when it is written to again. */
  get written(): Buffer {
    return this.bytes.subarray(0, this.at);
  }
}

export function int16(out: FastOutput, value: number): void {
  out.bytes[out.at] = (value >> 8) & 255;
  out.bytes[out.at + 1] = value & 255;
  out.at += 2;
}

export function int32(out: FastOutput, value: number): void {
  const { bytes, at } = out;
  bytes[at] = value >>> 24;
  bytes[at + 1] = (value >>> 16) & 255;
  bytes[at + 2] = (value >>> 8) & 255;
  bytes[at + 3] = value & 255;
  out.at = at + 4;
}

/** A whole number that a double holds exactly. */
export function int64(out: FastOutput, value: number): void {
  const high = Math.floor(value / 4_294_967_296);
  int32(out, high);
  int32(out, value - high * 4_294_967_296);
}

/** The field is NULL. */
export function nothing(out: FastOutput): void {
  out.room(4);
  int32(out, -1);
}
