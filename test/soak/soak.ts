// npm run soak: what takes long. All of it, or what is named: `npm run soak -- load cutover --seeds 1,2,3`. Options say how large; `--short` is
// a small round of what is most worth it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { checkout } from '../../stack/home.ts';

const here = fileURLToPath(new URL('./', import.meta.url));
const suffix = '.test.ts';
/** Files of `npm test` that are larger here, or have more tests (`isSoak`); their sizes where nothing is said. */
const larger: Readonly<Record<string, { project: string; file: string; documents?: string; kills?: string }>> = {
  checkpoint: { project: 'e2e', file: 'e2e/checkpoint' },
  kill: { project: 'e2e', file: 'e2e/kill', documents: '30000', kills: '3' },
  proof: { project: 'e2e', file: 'e2e/proof' },
  'way-back': { project: 'stores', file: 'stores/way-back', documents: '6000' },
};
const known = [
  ...(await readdir(here)).filter((file) => file.endsWith(suffix)).map((file) => file.slice(0, -suffix.length)),
  ...Object.keys(larger),
];
/** Has a part that needs no stores, beside the one that has them. */
const operators = 'operators';
const short = {
  names: ['load', 'cutover', 'bytes', operators, 'surroundings'],
  seconds: '30',
  documents: '1500',
  rate: '60',
  kills: '2',
  cycles: '1',
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string' },
    seconds: { type: 'string' },
    documents: { type: 'string' },
    rate: { type: 'string' },
    kills: { type: 'string' },
    cycles: { type: 'string' },
    plan: { type: 'string' },
    short: { type: 'boolean', default: false },
  },
});
const unknown = positionals.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`soak: there is no ${unknown.join(', ')}; known are ${known.join(', ')}.\n`);
  process.exit(2);
}
const names = positionals.length > 0 ? positionals : values.short ? short.names : known;
const asked = { ...(values.short && short), ...values };
const environment: Record<string, string> = Object.fromEntries(
  (['seeds', 'seconds', 'documents', 'rate', 'kills', 'cycles', 'plan'] as const).flatMap((option) => {
    const value = asked[option];
    return value === undefined ? [] : [[`SOAK_${option.toUpperCase()}`, value]];
  }),
);
// Those that need more than that for anything at all take a minute.
if (values.short && values.seconds === undefined) environment['SOAK_SHORT'] = 'yes';
const soaks = names.filter((name) => !(name in larger)).map((name) => join(here, `${name}${suffix}`));
if (soaks.length > 0) await run('soak', soaks);
if (names.includes(operators)) await run('workflows', [join(checkout, 'test', 'workflows', `${operators}${suffix}`)]);
for (const [name, { project, file, documents, kills }] of Object.entries(larger))
  if (names.includes(name))
    await run(project, [join(checkout, 'test', `${file}${suffix}`)], {
      ...(documents !== undefined && { SOAK_DOCUMENTS: documents }),
      ...(kills !== undefined && { SOAK_KILLS: kills }),
    });

async function run(project: string, files: readonly string[], sizes: Record<string, string> = {}): Promise<void> {
  const vitest = join(checkout, 'node_modules', 'vitest', 'vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', '--project', project, ...files], {
    cwd: checkout,
    env: { ...process.env, SOAK: 'yes', ...sizes, ...environment },
    stdio: 'inherit',
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) process.exitCode = 1;
}
