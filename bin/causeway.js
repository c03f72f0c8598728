#!/usr/bin/env node
// The command: TypeScript runs through tsx, so a checkout after `npm ci` is all it takes.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

if (!existsSync(fileURLToPath(new URL('../node_modules/tsx', import.meta.url)))) {
  process.stderr.write('causeway: the dependencies are not installed. Run `npm ci` in the checkout, then try again.\n');
  process.exit(2);
}
const { register } = await import('tsx/esm/api');
register();
const { main } = await import('../cli/main.ts');
await main(process.argv);
