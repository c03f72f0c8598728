// The layer rules bite: a violation of each is planted, and reported.
import { rm, writeFile } from 'node:fs/promises';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../', import.meta.url));
const imports = '@typescript-eslint/no-restricted-imports';
const planted: Record<string, [text: string, rule: string]> = {
  'core/planted.ts': ["import { readFile } from 'node:fs/promises';\nexport const x = readFile;\n", imports],
  'mappings/fields/planted.ts': [
    "import { loadKeys } from '../../stores/redis/loader.ts';\nexport const x = loadKeys;\n",
    imports,
  ],
  'stores/redis/planted.ts': [
    "import { openPool } from '../postgres/connection.ts';\nexport const x = openPool;\n",
    imports,
  ],
  'activities/planted.ts': [
    "import { migration } from '../workflows/index.ts';\nexport const x = migration;\n",
    imports,
  ],
  'workflows/planted.ts': [
    "import { openPool } from '../stores/postgres/connection.ts';\nexport const x = openPool;\n",
    imports,
  ],
  'workflows/phases/planted.ts': [
    "import { controlActivities } from '../../activities/index.ts';\nexport const x = controlActivities;\n",
    imports,
  ],
  'workflows/lib/planted.ts': ['export const x = process.env;\n', 'no-restricted-globals'],
  'spool/planted.ts': ["import pg from 'pg';\nexport const x = pg;\n", imports],
  'report/planted.ts': ["import { openAll } from '../activities/resources.ts';\nexport const x = openAll;\n", imports],
  'seed/planted.ts': [
    "import { loadMappings } from '../mappings/registry.ts';\nexport const x = loadMappings;\n",
    imports,
  ],
};

test.each(Object.entries(planted))('the rules see %s', async (path, [text, rule]) => {
  await writeFile(root + path, text);
  try {
    const [result] = await new ESLint({ cwd: root }).lintFiles(path);
    expect(result?.messages.map((message) => message.ruleId)).toEqual([rule]);
  } finally {
    await rm(root + path);
  }
});

const folders = [
  'activities',
  'bench',
  'cli',
  'control',
  'core',
  'lineage',
  'mappings',
  'report',
  'seed',
  'spool',
  'stack',
  'stores',
  'test',
  'workers',
  'workflows',
];
const modules = folders.flatMap((folder) =>
  (readdirSync(join(root, folder), { recursive: true }) as string[])
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file)),
);

test('every module says in its first line what it is for, and stays small', () => {
  for (const file of modules.filter((one) => !one.includes('planted'))) {
    const text = readFileSync(join(root, file), 'utf8');
    expect(text.startsWith('// '), `${file} begins with its purpose`).toBe(true);
    if (!file.startsWith('test'))
      expect(text.split('\n').length, `${file} has at most 330 lines`).toBeLessThanOrEqual(330);
  }
});
