// causeway quarantine: the documents that were set aside, and why.
import { Command } from 'commander';
import { documentsOf, rulesOf } from '../../control/quarantine.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { readAddresses } from '../connect.ts';
import { print, printJson, table } from '../output.ts';

interface Options {
  readonly collection?: string;
  readonly rule?: string;
  readonly limit?: string;
  readonly json?: boolean;
}

export function quarantine(): Command {
  const command = new Command('quarantine').description('documents that were set aside, with the rule and the place');
  command
    .command('list')
    .description('rules that set documents aside, how many, and one example of each')
    .option('--migration <name>', 'which migration', 'default')
    .option('--collection <name>', 'only this collection')
    .option('--json', 'print as JSON')
    .action((options: Options) =>
      withPool(async (pool) => {
        const rules = await rulesOf(pool, options.collection);
        if (options.json) return printJson(rules);
        if (rules.length === 0) return print('Nothing is quarantined.');
        print(
          table(
            ['collection', 'rule', 'path', 'documents', 'example'],
            rules.map((one) => [one.collection, one.rule, one.path, one.documents, one.example]),
          ),
        );
        print('\n`causeway quarantine show COLLECTION ID` prints one.');
      }),
    );
  command
    .command('show')
    .description('one document, or the first of a rule; secrets are redacted')
    .argument('<collection>', 'name of the mapping')
    .argument('[id]', 'source id: 24 hex digits, or canonical Extended JSON')
    .option('--migration <name>', 'which migration', 'default')
    .option('--rule <name>', 'only documents set aside by this rule')
    .option('--limit <n>', 'how many', '5')
    .option('--json', 'print as JSON')
    .action((collection: string, id: string | undefined, options: Options) =>
      withPool(async (pool) => {
        const limit = Math.max(1, Number.parseInt(options.limit ?? '5') || 5);
        const documents = await documentsOf(pool, collection, {
          limit,
          ...(id !== undefined && { sourceId: id }),
          ...(options.rule !== undefined && { rule: options.rule }),
        });
        if (options.json) return printJson(documents);
        if (documents.length === 0) {
          process.exitCode = 1;
          return print('No such document is quarantined. `causeway quarantine list` names the rules.');
        }
        for (const one of documents) {
          print(`${one.collection} ${one.source_id} (from ${one.source_collection})`);
          print(
            `  ${one.rule} at ${one.path || 'the document'}: ${one.message}${one.resolved_at ? ` (resolved ${one.resolved_at.toISOString()})` : ''}`,
          );
          print(`${JSON.stringify(one.document, null, 2).replace(/^/gm, '  ')}\n`);
        }
      }),
    );
  return command;
}

async function withPool(work: (pool: ReturnType<typeof openPool>) => Promise<void>): Promise<void> {
  const pool = openPool((await readAddresses()).addresses.postgres, 1);
  try {
    await work(pool);
  } finally {
    await pool.end();
  }
}
