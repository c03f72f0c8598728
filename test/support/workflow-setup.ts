// For the suite of workflows: Temporal servers, usual limits and low ones, and one bundle for the whole run. No store.
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { checkout, homeOf } from '../../stack/home.ts';
import { temporalBinary } from '../../stack/install.ts';
import { workflowBundle } from '../../workers/bundle.ts';
import { startTemporal } from './temporal.ts';

export default async function setup(project: TestProject) {
  // Minutes where Temporal has to be built; told before two servers of it are started.
  await temporalBinary(homeOf({}), (message) => process.stdout.write(`  ${message}\n`));
  const [temporal, renewing, bundle] = await Promise.all([
    startTemporal({}),
    startTemporal({ 'limit.historyCount.suggestContinueAsNew': 60 }),
    workflowBundle(join(checkout, '.causeway', 'bundle')),
  ]);
  project.provide('workflows', { address: temporal.address, renewing: renewing.address, bundle });
  return () => Promise.all([temporal.stop(), renewing.stop()]);
}
