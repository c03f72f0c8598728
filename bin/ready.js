// Before `npm run demo`, `npm test` and `npm run bench`: dependencies as the lock file says, installed when they are missing or older.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const installed = `${root}node_modules/.package-lock.json`;
const wanted = `${root}package-lock.json`;

if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(wanted).mtimeMs) {
  process.stdout.write('Installing the dependencies of package-lock.json with `npm ci` (once, a minute or two) ...\n');
  const { status, error } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (status !== 0) {
    process.stderr.write(
      `The dependencies could not be installed${error ? ` (${error.message})` : ''}. Check that npm reaches its registry, then run the command again.\n`,
    );
    process.exit(1);
  }
}
