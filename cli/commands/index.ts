// Every command, in the order of --help. Adding one is a file here and a line below.
import type { Command } from 'commander';
import { assess } from './assess.ts';
import { approve } from './approve.ts';
import { abort, pause, resume, retry, rollback } from './orders.ts';
import { capture, repair } from './capture.ts';
import { checkpoint } from './checkpoint.ts';
import { cutover } from './cutover.ts';
import { decisions } from './decisions.ts';
import { decide } from './decide.ts';
import { decommission } from './decommission.ts';
import { demo } from './demo.ts';
import { explain } from './explain.ts';
import { perf } from './perf.ts';
import { quarantine } from './quarantine.ts';
import { replay } from './replay.ts';
import { report } from './report.ts';
import { reverse } from './reverse.ts';
import { seed } from './seed.ts';
import { sidecar } from './sidecar.ts';
import { stack } from './stack.ts';
import { start } from './start.ts';
import { status } from './status.ts';
import { validate } from './validate.ts';
import { verify } from './verify.ts';
import { watch } from './watch.ts';
import { worker } from './worker.ts';

export const commands = (): Command[] => [
  demo(),
  stack(),
  seed(),
  assess(),
  worker(),
  sidecar(),
  start(),
  status(),
  watch(),
  pause(),
  resume(),
  retry(),
  approve(),
  cutover(),
  abort(),
  rollback(),
  decisions(),
  report(),
  reverse(),
  checkpoint(),
  decommission(),
  capture(),
  repair(),
  decide(),
  validate(),
  perf(),
  verify(),
  quarantine(),
  explain(),
  replay(),
];
