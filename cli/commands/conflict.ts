// causeway reverse conflict: the side of a conflict that was not kept, for whoever has to put something of it back by hand.
import { Command } from 'commander';
import { lostSidesOf } from '../../control/conflicts.ts';
import { shownOf } from '../../core/bson/shown.ts';
import { sourceIdsOf } from '../../core/identity.ts';
import { redactShown } from '../../core/redact.ts';
import { writePrivately } from '../../spool/private.ts';
import type { openPool } from '../../stores/postgres/connection.ts';
import { UsageError } from '../errors.ts';
import { print, printJson } from '../output.ts';
import { common } from './orders.ts';

interface Options {
  readonly json?: boolean;
  readonly out?: string;
}

export const conflict = (withPool: (work: (pool: ReturnType<typeof openPool>) => Promise<void>) => Promise<void>) =>
  common(
    new Command('conflict').description(
      'the side of a conflict that was not kept; decrypted, secrets and what belongs to people redacted',
    ),
  )
    .argument('<collection>', 'name of the mapping, or of the source collection')
    .argument('<id>', 'as `causeway reverse status` prints it')
    .option('--out <file>', 'write it whole into a file for its owner alone, as Extended JSON, the newest first')
    .action((collection: string, id: string, options: Options) =>
      withPool(async (pool) => {
        const ids = sourceIdsOf(id).map((one) => one.sourceId);
        const found = await lostSidesOf(pool, collection, ids);
        if (found.length === 0)
          throw new UsageError(`There is no conflict of ${collection} ${id}. \`causeway reverse status\` lists them.`);
        if (options.out !== undefined) {
          const whole = found.map(({ document, ...one }) => ({ ...one, document: document && shownOf(document) }));
          await writePrivately(options.out, `${JSON.stringify(whole, null, 2)}\n`);
        }
        const shown = found.map(({ document, ...one }) => ({
          ...one,
          document: document && redactShown(shownOf(document)),
        }));
        if (options.json) return printJson(shown);
        for (const one of shown) {
          print(
            `${one.source} ${one.sourceId}, ${one.at.toISOString()}: the ${one.kept} side was kept; the other ${one.document ? 'was' : 'had been deleted'}`,
          );
          if (one.document) print(JSON.stringify(one.document, null, 2).replace(/^/gm, '  '));
        }
        if (options.out !== undefined) print(`Written whole to ${options.out}.`);
      }),
    );
