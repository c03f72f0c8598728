// Places where a worker can be made to die as by kill -9, or with CAUSEWAY_KILL_WITH=SIGSTOP to hang: CAUSEWAY_KILL_AT names one, `:n` its nth
// passage. Only tests set them.

export const killPoints = [
  'reader.after-read',
  'reader.before-commit',
  'reader.after-commit',
  'lane.before-position',
  'lane.before-commit',
  'lane.after-commit',
  'outside.between-stores',
  'redo.before-commit',
  'load.before-ledger',
  'retry.before-commit',
  'retry.after-commit',
] as const;
export const cutoverKillPoints = [
  'switch.after-fence',
  'switch.after-close',
  'switch.before-flip',
  'switch.after-flip',
  'reverse.after-read',
  'reverse.after-write',
  'reverse.before-commit',
  'back.after-fence',
  'back.before-flip',
  'back.after-flip',
  'rollback.before-validation',
] as const;
/** Of checkpoints and their restore. */
export const checkpointKillPoints = [
  'snapshot.cut',
  'snapshot.before-rename',
  'snapshot.after-rename',
  'restore.marked',
  'restore.before-swap',
  'restore.between-stores',
  'restore.keys-removed',
  'restore.before-commit',
  'restore.after-commit',
] as const;
export type KillPoint =
  (typeof killPoints)[number] | (typeof cutoverKillPoints)[number] | (typeof checkpointKillPoints)[number];

const signal = process.env['CAUSEWAY_KILL_WITH'] === 'SIGSTOP' ? 'SIGSTOP' : 'SIGKILL';
const [place, nth = '1'] = (process.env['CAUSEWAY_KILL_AT'] ?? '').split(':');
let passed = 0;

export function killPoint(here: KillPoint): void {
  if (here === place && ++passed === Number(nth)) process.kill(process.pid, signal);
}
