// One embedded stack for the whole run, apart from the user's: its home is .causeway/test, its installed servers are shared.
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { checkout } from '../../stack/home.ts';
import { down, reset, up, type StackEnvironment } from '../../stack/index.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    stack: StackEnvironment;
    home: string;
  }
}

export default async function setup(project: TestProject) {
  const home = join(checkout, '.causeway', 'test');
  const values = { CAUSEWAY_HOME: home };
  await reset(values);
  project.provide('stack', await up((message) => process.stdout.write(`  ${message}\n`), values));
  project.provide('home', home);
  return async () => {
    await down(values);
  };
}
