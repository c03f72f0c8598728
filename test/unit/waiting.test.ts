// Ctrl-C while a command waits ends the command alone, and says what goes on.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkout } from '../../stack/home.ts';

test('what goes on is said, and how to look at it; exit code 130', async () => {
  const script = `
    import { migrationGoesOn, waiting } from ${JSON.stringify(join(checkout, 'cli', 'waiting.ts'))};
    await waiting(migrationGoesOn('shop'), async () => {
      process.stdout.write('waits');
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    });`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { cwd: checkout });
  let stderr = '';
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString('utf8')));
  await once(child.stdout, 'data');
  child.kill('SIGINT');
  expect(await once(child, 'close')).toEqual([130, null]);
  expect(stderr).toMatch(/The migration shop goes on.*`causeway status --migration shop`/);
});
