// The embedded stack of this file's place: files that run side by side have servers of their own, those that follow each other share them.
import { join } from 'node:path';
import { checkout } from '../../stack/home.ts';
import { up, type StackEnvironment } from '../../stack/index.ts';

export const stacks = join(checkout, '.causeway', 'test');
/** `CAUSEWAY_HOME` of the stack, for a test that stops and starts servers. */
export const home = join(stacks, process.env['VITEST_POOL_ID'] ?? '1');
/** Its addresses. What an earlier file has killed is started again. */
export const stack: StackEnvironment = await up(undefined, { CAUSEWAY_HOME: home });
