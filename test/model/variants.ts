// Neighbours of the protocol: which are sound, and what each unsound one gets wrong (protocol, part B).
import { isNewer, versionOfRead, type Held } from '../../core/guard.ts';
import { sound, type Doc, type Pieces } from './model.ts';

export interface Variant {
  readonly name: string;
  readonly pieces: Pieces;
  /** `either`: converges in the model, and is not used for reasons that the model does not show. */
  readonly expected: 'holds' | 'fails' | 'either';
  /** For three operations, by another model of these rules, written apart from this one: a move lost or added shows. */
  readonly size?: { readonly states: number; readonly checked: number };
}

type Writer = Pieces['written'];
const unless =
  (refuses: (held: Held<Doc>, write: Held<Doc>) => boolean): Writer =>
  (held, write) =>
    held !== undefined && refuses(held, write) ? held : write;

const variant = (name: string, expected: Variant['expected'], replaced: Partial<Pieces> = {}): Variant => ({
  name,
  expected,
  pieces: { ...sound, ...replaced },
});

export const variants: readonly Variant[] = [
  variant('A  as built', 'holds'),
  variant('A2 images looked up; gone ones are left to their delete', 'holds', { image: 'look-up' }),
  {
    ...variant('A3 tombstones kept for good', 'holds', { forget: 'never' }),
    size: { states: 448_448, checked: 24_598 },
  },
  variant('B1 chunk stamped after its read', 'fails', {
    versionOfChunk: (_, afterRead) => versionOfRead(BigInt(afterRead)),
  }),
  variant('B2 no guard: the last to arrive wins', 'fails', { written: (_, write) => write }),
  variant('B3 no tombstones', 'fails', { tombstones: false }),
  variant('B4 tombstones forgotten at any time', 'fails', { forget: 'anytime' }),
  variant('B4b tombstones forgotten without fencing superseded readers', 'fails', { forget: 'without-fencing' }),
  variant('B5 guard by cluster time alone, greater', 'fails', {
    written: unless((held, write) => write.version.time <= held.version.time),
  }),
  variant('B6 guard by cluster time alone, greater or equal', 'either', {
    written: unless((held, write) => write.version.time < held.version.time),
  }),
  variant('B7 operations of one cluster time numbered anew after a restart', 'fails', { numbering: 'restarted' }),
  variant('B8 deltas applied as if they were documents', 'fails', { image: 'delta' }),
  variant('B9 position ahead of what was applied', 'fails', { position: 'ahead' }),
  variant('B10 stream opened after the read', 'fails', { anchor: 'after' }),
  variant('C1 an empty document for one that is gone', 'either', { image: 'look-up-or-empty' }),
  variant('D1 the older version wins', 'fails', {
    written: (held, write) => (held && isNewer(write.version, held.version) ? held : write),
  }),
];
