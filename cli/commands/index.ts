// Every command, in the order of --help. Adding one is a file here and a line below.
import type { Command } from 'commander';

/** Each in a file of its own that is only loaded when it is asked for: what all of them need takes three times as long to load as what one does. */
const loaders: Readonly<Record<string, () => Promise<() => Command>>> = {
  demo: async () => (await import('./demo.ts')).demo,
  stack: async () => (await import('./stack.ts')).stack,
  seed: async () => (await import('./seed.ts')).seed,
  init: async () => (await import('./init.ts')).init,
  assess: async () => (await import('./assess.ts')).assess,
  worker: async () => (await import('./worker.ts')).worker,
  sidecar: async () => (await import('./sidecar.ts')).sidecar,
  stores: async () => (await import('./stores.ts')).stores,
  start: async () => (await import('./start.ts')).start,
  status: async () => (await import('./status.ts')).status,
  watch: async () => (await import('./watch.ts')).watch,
  pause: async () => (await import('./orders.ts')).pause,
  resume: async () => (await import('./orders.ts')).resume,
  retry: async () => (await import('./orders.ts')).retry,
  approve: async () => (await import('./approve.ts')).approve,
  cutover: async () => (await import('./cutover.ts')).cutover,
  abort: async () => (await import('./back.ts')).abort,
  incident: async () => (await import('./orders.ts')).incident,
  rollback: async () => (await import('./back.ts')).rollback,
  decisions: async () => (await import('./decisions.ts')).decisions,
  report: async () => (await import('./report.ts')).report,
  timescale: async () => (await import('./timescale.ts')).timescale,
  reverse: async () => (await import('./reverse.ts')).reverse,
  checkpoint: async () => (await import('./checkpoint.ts')).checkpoint,
  decommission: async () => (await import('./decommission.ts')).decommission,
  capture: async () => (await import('./capture.ts')).capture,
  repair: async () => (await import('./capture.ts')).repair,
  decide: async () => (await import('./decide.ts')).decide,
  validate: async () => (await import('./validate.ts')).validate,
  perf: async () => (await import('./perf.ts')).perf,
  verify: async () => (await import('./verify.ts')).verify,
  quarantine: async () => (await import('./quarantine.ts')).quarantine,
  explain: async () => (await import('./explain.ts')).explain,
  replay: async () => (await import('./replay.ts')).replay,
};

/** The command of that name; all of them where there is none, for the help and for what was meant instead. */
export async function commandsFor(name: string | undefined): Promise<Command[]> {
  const known = name !== undefined && Object.hasOwn(loaders, name) ? [loaders[name]!] : Object.values(loaders);
  const commands: Command[] = [];
  // One after the other: of thirty imports begun at once one was now and then never answered, and Node ended with exit code 0.
  for (const load of known) commands.push((await load())());
  return commands;
}
