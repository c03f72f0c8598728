// One application is loaded, and nothing beside it; what is none is refused with the place and the next action.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mappingsOf, readApplication } from '../../mappings/registry.ts';
import { application as shipped } from '../../mappings/tradingagents-cn/index.ts';

const root = new URL('../../', import.meta.url).pathname;
const shop = `
import { mapping, table } from '${root}mappings/language/declare.ts';
import { ref, residual, text } from '${root}mappings/language/words.ts';
const people = mapping('people', { class: 'static', to: table('people', { name: text().required(), metadata: residual() }) });
const letters = mapping('letters', { class: 'active', to: table('letters', { sender: ref('people'), metadata: residual() }) });
export const application = [letters, people];
`;

let home: string;
const folder = async (name: string, files: Readonly<Record<string, string>>) => {
  await mkdir(join(home, name), { recursive: true });
  for (const [file, text] of Object.entries(files)) await writeFile(join(home, name, file), text);
  return join(home, name);
};
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'application-'));
});
afterAll(() => rm(home, { recursive: true }));

test('a folder is an application, in the order of loading, and nothing is loaded beside it', async () => {
  const named = await folder('shop', { 'index.mts': shop });
  expect([...(await readApplication(named)).keys()]).toEqual(['people', 'letters']);
});

test('an installed package is an application', async () => {
  await folder('node_modules/@shop/mappings', {
    'package.json': '{ "name": "@shop/mappings", "main": "index.mjs" }',
    'index.mjs': `const none = { aliases: [], otherNames: {}, after: [], unique: [], back: {}, rules: [], references: [], values: [], invariants: [] };
      export const application = [{ ...none, collection: 'people', class: 'static', shape: { shape: {} }, targets: [], transform: () => ({}) }];`,
  });
  expect([...(await readApplication('@shop/mappings', home)).keys()]).toEqual(['people']);
});

test.each<[string, Readonly<Record<string, string>>, RegExp]>([
  ['without an index', { 'people.ts': shop }, /has no index\.ts, .*export the application there/],
  ['that exports none', { 'index.mjs': 'export default {};' }, /exports no application: it needs `export const app/],
  ['of nothing', { 'index.mjs': 'export const application = [];' }, /exports no application/],
  [
    'of something else',
    { 'index.mjs': 'export const application = [{}];' },
    /1 of the mappings of its application are/,
  ],
  [
    'that refers to nobody',
    { 'index.mts': shop.replace('[letters, people]', '[letters]') },
    /letters: letters\.sender refers to people, which is no mapping/,
  ],
  ['with a mapping twice', { 'index.mts': shop.replace('[letters,', '[people,') }, /people/],
])('a folder %s is refused', async (name, files, said) => {
  await expect(readApplication(await folder(name.replaceAll(' ', '-'), files))).rejects.toThrow(said);
});

test('a package that is not there is refused', async () => {
  await expect(readApplication('no-such-package', home)).rejects.toThrow(/no folder and no package that is installed/);
});

test('what is shipped is whole', () => {
  expect(mappingsOf(shipped, 'shipped').size).toBe(6);
});
