// Seeded randomness: every document has its own stream, so document i can be made without making the ones before it.

/** A 32-bit hash of three integers (murmur3's mixing steps). */
export function hash(seed: number, salt: number, index: number): number {
  let h = seed | 0;
  h = mixIn(h, seed / 0x1_0000_0000);
  h = mixIn(h, salt);
  h = mixIn(h, index);
  h ^= h >>> 16;
  h = Math.imul(h, 0x85eb_ca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A 32-bit hash of a name, to be used as a salt (FNV-1a). */
export function saltOf(name: string): number {
  let h = 0x811c_9dc5;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x0100_0193);
  return h >>> 0;
}

function mixIn(h: number, value: number): number {
  let k = Math.imul(value | 0, 0xcc9e_2d51);
  k = (k << 15) | (k >>> 17);
  h ^= Math.imul(k, 0x1b87_3593);
  h = (h << 13) | (h >>> 19);
  return (Math.imul(h, 5) + 0xe654_6b64) | 0;
}

/** mulberry32: 32 bits of state, enough for one document's worth of choices. */
export class Random {
  #state: number;

  constructor(state: number) {
    this.#state = state | 0;
  }

  /** An unsigned 32-bit integer. */
  word(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** In [0, 1). */
  fraction(): number {
    return this.word() / 0x1_0000_0000;
  }

  /** An integer in [low, high]. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.fraction() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.word() % list.length]!;
  }

  /** `digits` hexadecimal digits. */
  hex(digits: number): string {
    let text = '';
    while (text.length < digits) text += this.word().toString(16).padStart(8, '0');
    return text.slice(0, digits);
  }

  /** A version 4 UUID. */
  uuid(): string {
    const h = this.hex(32);
    return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(13, 16)}-${'89ab'[this.word() & 3]}${h.slice(17, 20)}-${h.slice(20)}`;
  }
}
