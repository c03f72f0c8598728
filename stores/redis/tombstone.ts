// The name of a key's removals, which must be in the key's own slot: a script of a cluster sees one slot only. It is the key's name behind a tag of
// ours that has this slot, whatever stands in the key: no two keys share one, and no key of a mapping is one.
import { crc16, slotOf, slots } from './slot.ts';
import { reservedBeginnings } from './target.ts';

const [begin] = reservedBeginnings;
const form = /^\{causeway:(\d+)\}/;

export const tombstoneKey = (key: string): string => `${begin}${tagWith(slotOf(key))}}${key}`;

/** The key whose removals stand under this name; undefined where it is no such name. */
export function keyOfTombstone(name: string): string | undefined {
  const tag = form.exec(name)?.[0];
  if (tag === undefined) return undefined;
  const key = name.slice(tag.length);
  return tombstoneKey(key) === name ? key : undefined;
}

/** Patterns, as SCAN and ACL read them, that the keys of a prefix and their removals match. */
export const patternsOf = (prefix: string): string[] => [keysOf(prefix), `${begin}*}${keysOf(prefix)}`];

export const keysOf = (prefix: string): string => `${prefix.replace(/[\\*?[\]]/g, '\\$&')}*`;

/** For each slot the smallest number that makes a tag of it: found once, in some milliseconds. */
let tags: Uint32Array | undefined;

function tagWith(slot: number): number {
  tags ??= findTags();
  return tags[slot]!;
}

function findTags(): Uint32Array {
  const found = new Uint32Array(slots);
  const start = crc16(Buffer.from(begin.slice(1)));
  for (let left = slots, n = 1; left > 0; n++) {
    const slot = crc16(Buffer.from(`${n}`), start) % slots;
    if (found[slot] !== 0) continue;
    found[slot] = n;
    left--;
  }
  return found;
}
