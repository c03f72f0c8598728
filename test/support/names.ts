// What an operator may send by name, good and bad: every signal and update of the contract, and every workflow of the tree by its place.
import * as contract from '../../workflows/contract.ts';
import { phases } from '../../core/story.ts';

const namesOf = (type: 'signal' | 'update'): string[] =>
  (Object.values(contract) as readonly unknown[]).flatMap((one) => {
    const { type: its, name } = one as { readonly type?: unknown; readonly name?: unknown };
    return its === type && typeof name === 'string' ? [name] : [];
  });
const unknown = 'nobodyKnowsThis';

/** What people send, what workflows send each other, and what nobody knows. */
export const signalNames: readonly string[] = [...namesOf('signal'), unknown];
export const updateNames: readonly string[] = [...namesOf('update'), unknown];
/** Orders without a payload: whatever comes with them, they are obeyed. */
export const bare: ReadonlySet<string> = new Set(['pause', 'resume', 'retry', 'advanceStage']);

/** Wrong in every way that somebody who types may be wrong. */
export const junk: readonly unknown[] = [
  undefined,
  null,
  'x',
  '',
  7,
  -1,
  [],
  [[]],
  {},
  true,
  { percentage: 250 },
  { percentage: '50' },
  { percentage: 5, collection: 'toString' },
  { percentage: 5, collection: '__proto__' },
  { percentage: 5, collection: 'nothing' },
  { gate: 1 },
  { gate: 'rollback' },
  { gate: 'x'.repeat(3000) },
  { to: 'lunch' },
  { to: '' },
  { ['k'.repeat(5000)]: 1 },
  { kind: 'rain' },
  { kind: 'data_corruption', detail: 'd'.repeat(600) },
  { reason: '' },
  { stage: 99, waitingFor: 7, routing: null },
  { checkpoint: null, routing: { x: null } },
];

/** Everything of the tree that may be cancelled or terminated by its id. */
export const placesOf = (collections: readonly string[], stages: readonly string[]): readonly string[] => [
  ...phases,
  ...collections.map((name) => `copy/${name}`),
  'data/validation',
  'validation',
  ...stages.map((name) => `cutover/${name}`),
  ...phases.map((phase) => `checkpoint/${phase}`),
  'rollback',
  'capture',
  'reverse',
  'verify',
  'quarantine/retry',
  'snapshot/before',
  'restore',
  'restore/validation',
  'decommission',
];
