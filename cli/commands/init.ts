// causeway init: an application's mappings, drafted from the source as it is. Only the folder is written.
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { Command } from 'commander';
import { indexModule } from '../../assess/draft.ts';
import { draftApplication, type Drafted } from '../../assess/init.ts';
import { makeFolder, writePrivately } from '../../spool/private.ts';
import { checkout } from '../../stack/home.ts';
import { openMongo } from '../../stores/mongodb/connection.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { readAddresses } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { print, printJson, table } from '../output.ts';

interface Options {
  readonly sample: string;
  readonly collection?: string[];
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export const init = (): Command =>
  new Command('init')
    .description('draft the mappings of an application from its live database, ready to be edited')
    .argument('<folder>', 'where the mappings are written; it must be new or empty')
    .option('--sample <n>', 'documents looked at per collection', '2000')
    .option('--collection <name>', 'only this source collection, and may be given again', collect)
    .option('--dry-run', 'print the files, and write nothing')
    .option('--json', 'print what was drafted as JSON')
    .action(async (given: string, options: Options) => {
      const sample = Number(options.sample);
      if (!Number.isInteger(sample) || sample < 1) throw new UsageError('--sample is a whole number from 1.');
      const folder = resolve(given);
      if (!options.dryRun && existsSync(folder) && (await readdir(folder)).length > 0)
        throw new UsageError(`${folder} is not empty: name a new folder, so that nothing that was edited is lost.`);
      const { client, db } = openMongo((await readAddresses()).addresses.source, 'source');
      try {
        const there = new Set(await collectionNames(db));
        const missing = options.collection?.find((name) => !there.has(name));
        if (missing !== undefined)
          throw new UsageError(`The source has no collection ${missing}. It has: ${[...there].join(', ') || 'none'}.`);
        const drafts = await draftApplication(db, {
          sample,
          only: options.collection ?? [],
          language: languageFrom(folder),
          onProgress: (name) => void (process.stderr.isTTY && process.stderr.write(`  looking at ${name}\n`)),
        });
        if (drafts.length === 0)
          throw new UsageError(
            `The database ${db.databaseName} has no documents: is it the one in SOURCE_MONGODB_URL?`,
          );
        const files = filesOf(drafts);
        if (!options.dryRun) await write(folder, files);
        if (options.json) return printJson({ folder, written: options.dryRun !== true, collections: drafts });
        if (options.dryRun) for (const [name, text] of files) print(`// ${name}\n${text}`);
        else show(given, drafts);
      } finally {
        await client.close();
      }
    });

const collect = (name: string, names: string[] = []): string[] => [...names, name];

/** As an import in the folder names it. */
function languageFrom(folder: string): string {
  const path = relative(folder, join(checkout, 'mappings', 'language'))
    .split(sep)
    .join('/');
  return path.startsWith('.') ? path : `./${path}`;
}

const filesOf = (drafts: readonly Drafted[]): (readonly [name: string, text: string])[] => [
  ['index.mts', indexModule(drafts)],
  ...drafts.map(({ name, text }) => [`${name}.mts`, text] as const),
];

async function write(folder: string, files: readonly (readonly [string, string])[]): Promise<void> {
  await makeFolder(folder);
  for (const [name, text] of files) await writePrivately(join(folder, name), text);
}

function show(folder: string, drafts: readonly Drafted[]): void {
  print(
    table(
      ['collection', 'file', 'documents', 'looked at', 'columns', 'to decide'],
      drafts.map((one) => [
        one.collection,
        `${one.name}.mts`,
        one.documents,
        one.sampled,
        one.columns,
        one.decide.length,
      ]),
    ),
  );
  for (const { collection, decide } of drafts.filter((one) => one.decide.length > 0))
    print(`\n${collection}\n${decide.map((one) => `  - ${one}`).join('\n')}`);
  print(
    `\nWritten to ${folder}. What a column does not take, and every field without one, is kept beside it: nothing is lost as the files are.\nNext: edit them (docs/write-a-mapping.md), then \`CAUSEWAY_MAPPINGS=${folder} causeway assess\` says what they do to the documents.`,
  );
}
