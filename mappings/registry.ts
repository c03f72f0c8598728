// Every file of collections/ is one mapping; CAUSEWAY_MAPPINGS names further folders, separated by `:`.
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { delimiter, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { problemsBetween, problemsOf } from './check.ts';
import type { Mapping } from './mapping.ts';

export class MappingError extends Error {
  override readonly name = 'MappingError';
}

let loaded: Promise<ReadonlyMap<string, Mapping>> | undefined;

/** All mappings by collection name. Throws MappingError naming the file that is no mapping, or the name that stands twice. */
export function loadMappings(): Promise<ReadonlyMap<string, Mapping>> {
  loaded ??= readFolders([fileURLToPath(new URL('./collections/', import.meta.url)), ...extraFolders()]);
  return loaded;
}

const extraFolders = () =>
  (process.env['CAUSEWAY_MAPPINGS'] ?? '')
    .split(delimiter)
    .filter(Boolean)
    .map((folder) => resolve(folder));

export async function readFolders(folders: readonly string[]): Promise<ReadonlyMap<string, Mapping>> {
  const found = new Map<string, Mapping>();
  const claimed = new Map<string, string>();
  for (const folder of folders) {
    if (!existsSync(folder)) throw new MappingError(`CAUSEWAY_MAPPINGS names ${folder}, which does not exist.`);
    for (const file of (await readdir(folder))
      .filter((name) => /\.m?[tj]s$/.test(name) && !name.endsWith('.d.ts'))
      .sort()) {
      const path = resolve(folder, file);
      const mapping = ((await import(pathToFileURL(path).href)) as { default?: Mapping }).default;
      if (!mapping?.collection || !mapping.transform) {
        throw new MappingError(`${path} has no mapping as its default export; see docs/write-a-mapping.md.`);
      }
      const problems = problemsOf(mapping);
      if (problems.length > 0)
        throw new MappingError(`${path} is refused: ${problems.join('; ')}. See docs/write-a-mapping.md.`);
      for (const name of [mapping.collection, ...mapping.aliases]) {
        const other = claimed.get(name);
        if (other) throw new MappingError(`${path} and ${other} both claim the source collection ${name}.`);
        claimed.set(name, path);
      }
      found.set(mapping.collection, mapping);
    }
  }
  const between = problemsBetween(found);
  if (between.length > 0)
    throw new MappingError(`The mappings do not fit together: ${between.join('; ')}. See docs/write-a-mapping.md.`);
  return found;
}
