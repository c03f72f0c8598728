import { defineConfig } from 'vitest/config';

const unit = [
  'test/unit/**/*.test.ts',
  'test/mappings/**/*.test.ts',
  'test/language/**/*.test.ts',
  'test/architecture.test.ts',
  'test/replay/**/*.test.ts',
  'test/model/**/*.test.ts',
  'test/report/report.test.ts',
];
const workflows = ['test/workflows/**/*.test.ts'];
const stores = ['test/stores/**/*.test.ts', 'test/traffic/**/*.test.ts'];
const soak = ['test/soak/**/*.test.ts'];

/** On embedded servers: those of the place where a file runs (test/support/stack.ts). */
const withStack = {
  globalSetup: './test/support/global-setup.ts',
  testTimeout: 180_000,
  hookTimeout: 420_000,
  // Resume tokens of the embedded servers hold no time: each wait for capture takes this long. Soaks have the product's own time.
  env: { CAUSEWAY_SETTLING_MS: '600' },
};

// docs/testing.md says what belongs where. `npm test` runs all suites but `soak`.
export default defineConfig({
  test: {
    pool: 'forks',
    // As many as a machine of two cores has: each file has servers and a worker of its own beside it. With three it is no faster.
    maxWorkers: 2,
    projects: [
      { test: { name: 'unit', include: unit, testTimeout: 60_000 } },
      {
        test: {
          name: 'workflows',
          include: workflows,
          // Files share a process, and in it the workers for workflows (test/support/workflow-workers.ts).
          isolate: false,
          globalSetup: './test/support/workflow-setup.ts',
          testTimeout: 150_000,
        },
      },
      { test: { name: 'stores', include: stores, ...withStack } },
      {
        test: {
          name: 'e2e',
          include: ['test/**/*.test.ts'],
          exclude: [...unit, ...workflows, ...stores, ...soak],
          ...withStack,
        },
      },
      { test: { name: 'soak', include: soak, fileParallelism: false, ...withStack, env: {} } },
    ],
  },
});
