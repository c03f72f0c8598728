import { defineConfig } from 'vitest/config';

const unit = [
  'test/unit/**/*.test.ts',
  'test/mappings/**/*.test.ts',
  'test/architecture.test.ts',
  'test/replay/**/*.test.ts',
  'test/model/**/*.test.ts',
  'test/report/report.test.ts',
];

// `unit` needs no server. `integration` shares one embedded stack, started once, and runs one file after another: they share its stores.
export default defineConfig({
  test: {
    pool: 'forks',
    projects: [
      { test: { name: 'unit', include: unit, testTimeout: 60_000 } },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.test.ts'],
          exclude: unit,
          globalSetup: './test/support/global-setup.ts',
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 240_000,
        },
      },
    ],
  },
});
