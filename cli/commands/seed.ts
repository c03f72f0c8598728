// causeway seed: a realistic source database, with the dirt that real ones have.
import { join } from 'node:path';
import cliProgress from 'cli-progress';
import { Command } from 'commander';
import { seedSource } from '../../seed/index.ts';
import { home, readAddresses } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { print, printJson, table } from '../output.ts';

export function seed(): Command {
  return new Command('seed')
    .description(
      'fill the source MongoDB with made-up documents of the real shapes; the same seed gives the same documents',
    )
    .option('--documents <n>', 'how many, over all collections (100 to 10000000)', '20000')
    .option('--dirty <share>', 'share of dirty documents, 0 to 1', '0.01')
    .option('--seed <n>', 'what the documents are derived from', '1')
    .option('--only <collections>', 'source collections, separated by commas')
    .option(
      '--planted <file>',
      "where to record the dirty documents, one JSON line each (default: planted.jsonl in the stack's home)",
    )
    .option('--json', 'print the summary as JSON')
    .action(
      async (options: {
        documents: string;
        dirty: string;
        seed: string;
        only?: string;
        planted?: string;
        json?: boolean;
      }) => {
        const documents = within('--documents', options.documents, 100, 10_000_000);
        const dirty = within('--dirty', options.dirty, 0, 1, false);
        const number = within('--seed', options.seed, 0, Number.MAX_SAFE_INTEGER);
        const { addresses } = await readAddresses();
        const plantedFile = options.planted ?? join(home(), 'planted.jsonl');
        const bar = new cliProgress.SingleBar({
          format: '  {collection} [{bar}] {value}/{total}',
          hideCursor: true,
          noTTYOutput: false,
          stream: process.stderr,
        });
        let started = false;
        const summary = await seedSource({
          url: addresses.source,
          documents,
          dirty,
          seed: number,
          plantedFile,
          ...(options.only !== undefined && { only: options.only.split(',') }),
          onProgress: ({ collection, written, total }) => {
            if (!process.stderr.isTTY) return;
            if (!started) bar.start(total, written, { collection: collection.padEnd(20) });
            started = true;
            bar.setTotal(total);
            bar.update(written, { collection: collection.padEnd(20) });
          },
        }).finally(() => started && bar.stop());
        if (options.json) return printJson({ ...summary, plantedFile });
        print(
          table(
            ['collection', 'documents', 'dirty'],
            Object.entries(summary.collections).map(([name, its]) => [name, its.documents, its.dirty]),
          ),
        );
        print(
          `\nSeeded in ${summary.seconds.toFixed(1)} s. Dirty documents are recorded in ${plantedFile}. Next: \`causeway assess\`, \`causeway start\`.`,
        );
      },
    );
}

function within(option: string, text: string, least: number, most: number, whole = true): number {
  const value = Number(text);
  if (
    text.trim() === '' ||
    !Number.isFinite(value) ||
    value < least ||
    value > most ||
    (whole && !Number.isInteger(value))
  ) {
    throw new UsageError(`${option} must be a ${whole ? 'whole ' : ''}number from ${least} to ${most}, not "${text}".`);
  }
  return value;
}
