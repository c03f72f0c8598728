// A command whose reader has left ends quietly.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkout } from '../../stack/home.ts';

test.each(['--help', 'perf --help', 'no-such-command'])('causeway %s | true', (args) => {
  const script = `set -o pipefail; node "${join(checkout, 'bin', 'causeway.js')}" ${args} 2> >(cat >&2) | true; echo "codes \${PIPESTATUS[*]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
  expect(stderr).not.toMatch(/EPIPE|at .*node:/);
  expect(stdout).toMatch(args === 'no-such-command' ? /codes 2 0/ : /codes 0 0/);
});
