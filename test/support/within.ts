// What is promised in milliseconds is promised on a machine that has the time: where more wants to run than there are processors, each takes longer.
import { cpus, loadavg } from 'node:os';

/** `ms`, and in proportion more where the last minute was busier than the machine is large. */
export const within = (ms: number): number => ms * Math.max(1, loadavg()[0]! / cpus().length);
