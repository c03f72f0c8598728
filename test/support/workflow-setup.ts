// For the suite of workflows: one Temporal server and one bundle for the whole run. No store.
import { cpus } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { checkout } from '../../stack/home.ts';
import { workflowBundle } from '../../workers/bundle.ts';
import { startTemporal } from './temporal.ts';

export default async function setup(project: TestProject) {
  const namespaces = Array.from({ length: Math.max(4, cpus().length * 2) }, (_, i) => `file-${i}`);
  const [temporal, bundle] = await Promise.all([
    startTemporal({}, namespaces),
    workflowBundle(join(checkout, '.causeway', 'bundle')),
  ]);
  project.provide('workflows', { address: temporal.address, namespaces, bundle });
  return temporal.stop;
}
