#!/usr/bin/env node
// The command: TypeScript runs through tsx, so a checkout after `npm ci` is all it takes.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

if (!existsSync(fileURLToPath(new URL('../node_modules/tsx', import.meta.url)))) {
  process.stderr.write('causeway: the dependencies are not installed. Run `npm ci` in the checkout, then try again.\n');
  process.exit(2);
}
// What libraries will have to change one day is no news for who runs a command.
process.noDeprecation = true;
// Without this, Node ends with exit code 0 when a promise that is waited for is never settled: a command that did nothing would look like success.
let done = false;
process.once('beforeExit', () => {
  if (done) return;
  process.stderr.write('causeway: the command ended before it had finished, and nothing says why. Run it again.\n');
  process.exitCode = 1;
});
const { register } = await import('tsx/esm/api');
register();
const { main } = await import('../cli/main.ts');
await main(process.argv);
done = true;
