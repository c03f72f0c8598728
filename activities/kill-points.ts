// Places where a worker can be made to die as by kill -9: CAUSEWAY_KILL_AT names one, `:n` its nth passage. Only tests set it.

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
export type KillPoint = (typeof killPoints)[number];

const [place, nth = '1'] = (process.env['CAUSEWAY_KILL_AT'] ?? '').split(':');
let passed = 0;

export function killPoint(here: KillPoint): void {
  if (here === place && ++passed >= Number(nth)) process.kill(process.pid, 'SIGKILL');
}
