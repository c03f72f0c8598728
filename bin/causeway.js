#!/usr/bin/env node
// The command: a checkout after `npm ci` is all it takes. It runs bundled; where mappings of one's own are TypeScript, or no bundle can be made, through tsx.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bundle } from './bundle.js';

if (!existsSync(fileURLToPath(new URL('../node_modules/tsx', import.meta.url)))) {
  process.stderr.write('causeway: the dependencies are not installed. Run `npm ci` in the checkout, then try again.\n');
  process.exit(2);
}
// What libraries will have to change one day is no news for who runs a command.
process.noDeprecation = true;
// A worker's log names the sources where something is a defect; a command would take a tenth longer.
if (process.argv[2] === 'worker') process.setSourceMapsEnabled(true);
// Without this, Node ends with exit code 0 when a promise that is waited for is never settled: a command that did nothing would look like success.
let done = false;
process.once('beforeExit', () => {
  if (done) return;
  process.stderr.write('causeway: the command ended before it had finished, and nothing says why. Run it again.\n');
  process.exitCode = 1;
});
const { main } = await import(await entry());
await main(process.argv);
done = true;

async function entry() {
  const bundled = process.env['CAUSEWAY_MAPPINGS'] ? undefined : await bundle();
  if (bundled !== undefined) return bundled;
  const { register } = await import('tsx/esm/api');
  register();
  return '../cli/main.ts';
}
