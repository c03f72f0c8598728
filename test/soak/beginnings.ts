// Where a round of the operators' fuzzer begins: each state that a migration can be in, by the shortest documented way.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Status } from '../../core/state.ts';
import type { World } from '../support/world.ts';
import type { Operator } from './operator.ts';

export const beginnings = [
  'nothing',
  'a copy',
  'data',
  'a stage',
  'parked',
  'paused',
  'writes moving',
  'writes moved',
  'rolling back to a stage',
  'rolling back to old',
  'undoing',
  'restoring',
  'completed',
  'completed, rolling back',
  'decommissioning',
] as const;
export type Beginning = (typeof beginnings)[number];

interface Place {
  readonly operator: Operator;
  readonly world: World;
  readonly start: readonly string[];
}

const limitMs = 90_000;

/** `writes` starts the application, as soon as there is something that it can write through. */
export async function begin(
  beginning: Beginning,
  { operator, world, start }: Place,
  writes: () => Promise<void>,
): Promise<void> {
  const order = async (...args: string[]): Promise<void> => void (await operator.command(args, limitMs));
  const until = (check: (status: Status) => boolean) => world.until(check, limitMs);
  const share = (percentage: number) =>
    until(({ routing }) => Object.values(routing).some((one) => one.percentage === percentage));
  const reason = ['--reason', 'by chance'];

  if (beginning === 'nothing') return;
  if (beginning === 'a copy') {
    await order(...start);
    await until(({ phase, collections }) => phase === 'data' && Object.keys(collections).length > 0);
    return;
  }
  await order(...start, '--until', 'data', '--wait');
  await writes();
  if (beginning === 'data') return;
  if (beginning === 'restoring') await order('checkpoint', 'create', 'before');
  await order(...start);
  await share(10);
  if (beginning === 'a stage') return;
  if (beginning === 'parked') {
    await world.temporal.workflow.getHandle(`migration/${world.name}/cutover`).cancel();
    await until(({ state }) => state === 'parked');
    return;
  }
  if (beginning === 'paused') return order('pause');
  // From here on something is under way when the round begins.
  if (beginning === 'undoing') return order('abort', ...reason);
  if (beginning === 'restoring') {
    void operator.command(['checkpoint', 'restore', 'before', '--yes'], limitMs);
    return void (await sleep(2000));
  }
  await order('cutover', 'advance');
  await until((status) => status.waitingFor?.includes('writes') === true);
  await order('approve', 'writes');
  if (beginning === 'writes moving') return;
  await share(100);
  if (beginning === 'writes moved') return;
  if (beginning === 'rolling back to a stage') return order('rollback', '--to', 'first', ...reason);
  if (beginning === 'rolling back to old') return order('rollback', '--to', 'old', ...reason);
  await order('cutover', 'advance');
  await until(({ state }) => state === 'completed');
  if (beginning === 'completed') return;
  if (beginning === 'completed, rolling back') return order('rollback', '--to', 'old', ...reason);
  void operator.command(['decommission', '--yes'], limitMs);
  await sleep(1500);
}
