// The application whose collections are migrated: CAUSEWAY_MAPPINGS names it, a folder or an installed package; nothing else is loaded beside it.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { problemsBetween, problemsOf } from './check.ts';
import { checked, MappingRefused } from './language/application.ts';
import type { Declaration } from './language/declare.ts';
import { toMapping } from './language/engine.ts';
import { tablesOf } from './language/forward.ts';
import type { Mapping } from './mapping.ts';

export class MappingError extends Error {
  override readonly name = 'MappingError';
}

/** What an application's module exports as `application`: declarations, and mappings in code of their own. */
export type Application = readonly (Declaration | Mapping)[];

let loaded: Promise<ReadonlyMap<string, Mapping>> | undefined;

/** All mappings by collection name. Throws MappingError, which names the application and everything that is wrong with it. */
export function loadMappings(): Promise<ReadonlyMap<string, Mapping>> {
  loaded ??= readApplication(process.env['CAUSEWAY_MAPPINGS'] || shipped);
  return loaded;
}

const shipped = fileURLToPath(new URL('./tradingagents-cn/', import.meta.url));

/** `named`: a folder with an index module, or a package that is installed where it can be found from `from`. */
export async function readApplication(named: string, from = process.cwd()): Promise<ReadonlyMap<string, Mapping>> {
  const file = fileOf(named, from);
  const { application } = (await import(pathToFileURL(file).href)) as { application?: Application };
  if (!Array.isArray(application) || application.length === 0)
    throw new MappingError(
      `${file} exports no application: it needs \`export const application = [...]\` with its mappings; see docs/write-a-mapping.md.`,
    );
  return mappingsOf(application as Application, file);
}

function fileOf(named: string, from: string): string {
  const folder = resolve(from, named);
  const index = ['index.ts', 'index.mts', 'index.mjs', 'index.js']
    .map((one) => resolve(folder, one))
    .find((one) => existsSync(one));
  if (index !== undefined) return index;
  if (existsSync(folder))
    throw new MappingError(
      `CAUSEWAY_MAPPINGS names ${folder}, which has no index.ts, index.mts, index.mjs or index.js: export the application there; see docs/write-a-mapping.md.`,
    );
  try {
    return createRequire(resolve(from, 'index.js')).resolve(named);
  } catch {
    throw new MappingError(
      `CAUSEWAY_MAPPINGS names ${named}, which is no folder and no package that is installed here: give it one of both.`,
    );
  }
}

/** `from`: where they were read, for messages. */
export function mappingsOf(application: Application, from: string): ReadonlyMap<string, Mapping> {
  const strange = application.filter((one) => !isDeclaration(one) && !isMapping(one));
  if (strange.length > 0)
    throw new MappingError(
      `${from}: ${strange.length} of the mappings of its application are none: make them with mapping(); see docs/write-a-mapping.md.`,
    );
  const tables = new Map(application.map((one) => [one.collection, mainTable(one)]));
  const declared = application.filter(isDeclaration);
  const others = application.filter(isMapping);
  const order = declarationsOf(declared, others, from);
  const mappings = [...order.map((one) => toMapping(one, (name) => tables.get(name) ?? name)), ...others];
  const found = new Map<string, Mapping>();
  const claimed = new Set<string>();
  for (const mapping of mappings) {
    const problems = problemsOf(mapping);
    if (problems.length > 0)
      throw new MappingError(
        `${from}: ${mapping.collection} is refused: ${problems.join('; ')}. See docs/write-a-mapping.md.`,
      );
    for (const name of [mapping.collection, ...mapping.aliases]) {
      if (claimed.has(name)) throw new MappingError(`${from}: two mappings claim the source collection ${name}.`);
      claimed.add(name);
    }
    found.set(mapping.collection, mapping);
  }
  const between = problemsBetween(found);
  if (between.length > 0)
    throw new MappingError(
      `${from}: the mappings do not fit together: ${between.join('; ')}. See docs/write-a-mapping.md.`,
    );
  return found;
}

/** In the order of loading. */
function declarationsOf(
  declared: readonly Declaration[],
  others: readonly Mapping[],
  from: string,
): readonly Declaration[] {
  try {
    return checked(
      declared.map((declaration) => ({ from: `${from}, ${declaration.collection}`, declaration })),
      others.map((one) => one.collection),
    );
  } catch (error) {
    throw error instanceof MappingRefused ? new MappingError(error.message, { cause: error }) : error;
  }
}

const isDeclaration = (one: Declaration | Mapping): one is Declaration => 'to' in one;
const isMapping = (one: Declaration | Mapping): one is Mapping => 'targets' in one && 'transform' in one;

/** What references to a mapping's documents look them up in. */
const mainTable = (one: Declaration | Mapping): string | undefined =>
  isDeclaration(one) ? tablesOf(one)[0]?.name : one.targets.find((target) => target.store === 'postgres')?.name;
