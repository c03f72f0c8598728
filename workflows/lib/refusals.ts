// Why an order cannot be carried out now, in a whole sentence: what the state of the migration allows. Pure.
import { restoreHint } from '../../core/checkpoints.ts';
import { brief, type CutoverOrder, type RollbackOrder } from '../../core/orders.ts';
import type { Stage } from '../../core/settings.ts';
import { isOver, type MigrationState } from '../../core/state.ts';

/** undefined: it can. */
type Refuse<T> = (order: T) => string | undefined;

export interface Refusals {
  readonly cutover: Refuse<CutoverOrder>;
  readonly gate: Refuse<string>;
  readonly retry: () => string | undefined;
  readonly rollback: Refuse<RollbackOrder>;
  readonly abort: () => string | undefined;
  /** Where a rollback may go. */
  readonly waysBack: () => string[];
  readonly advance: () => string | undefined;
  readonly pause: () => string | undefined;
  readonly resume: () => string | undefined;
}

export function refusalsOf(state: MigrationState, stages: readonly Stage[]): Refusals {
  const cutover = (order: CutoverOrder): string | undefined => {
    if (state.capture.gap && order.percentage > 0)
      return `Change capture has a gap (${state.capture.gap.detail}): run \`causeway repair\` first. Traffic can only be taken back, with 0 %.`;
    if (state.phase !== 'cutover' || isOver(state.state))
      return `Traffic can be moved only in the cutover phase; the migration is in ${state.phase}, ${state.state}.`;
    if (order.collection !== undefined && !Object.hasOwn(state.collections, order.collection))
      return `collection: there is no ${brief(order.collection)}; known are ${Object.keys(state.collections).join(', ')}.`;
    // What is read there may be removed next.
    if (state.state === 'compensating' && order.percentage > 0)
      return 'The migration is being undone: traffic can only be taken back now, with 0 %. When it has gone back, `causeway status` says what is possible.';
    return undefined;
  };
  const gate = (gate: string): string | undefined =>
    state.waitingFor?.includes(`"${gate}"`)
      ? undefined
      : `gate: nothing waits for "${brief(gate)}" now${state.waitingFor ? `; the migration waits for ${state.waitingFor}` : ''}.`;
  const retry = (): string | undefined =>
    state.state === 'parked'
      ? undefined
      : `Nothing is parked, and no step waits to be tried again; the migration is ${state.state}.`;
  /** Checkpoints, in the cutover the stages that have begun, and `old`: everything to the old system, what was copied stays. */
  const waysBack = (): string[] => [
    ...state.checkpoints.map((checkpoint) => checkpoint.name),
    ...(state.phase === 'cutover' ? ['old', ...stages.slice(0, state.stage + 1).map((stage) => stage.name)] : []),
  ];
  const over = (): string | undefined => (isOver(state.state) ? `The migration is ${state.state}.` : undefined);
  const rollback = (order: RollbackOrder): string | undefined => {
    // Where it stands is being read: what was accepted is judged by that.
    if (state.arrived === 'no') return undefined;
    if (order.to === undefined || waysBack().includes(order.to)) return over();
    const to = brief(order.to);
    return `to: there is no checkpoint ${to}; known are ${waysBack().join(', ') || 'none'}. ${restoreHint(to)}`;
  };
  const advance = (): string | undefined => {
    if (state.phase !== 'cutover' || state.state !== 'running')
      return `No stage is soaking; the migration is in ${state.phase}, ${state.state}.`;
    // Between two words of a stage the stage itself knows, and tells where it has nothing to end.
    if (state.soaking || state.waitingFor === null) return undefined;
    return `No stage is soaking; the migration waits for ${state.waitingFor}.`;
  };
  const resume = (): string | undefined =>
    state.state === 'paused' ? undefined : `Nothing is paused; the migration is ${state.state}.`;
  return { cutover, gate, retry, rollback, abort: over, waysBack, advance, pause: over, resume };
}
