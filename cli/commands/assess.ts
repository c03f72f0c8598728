// causeway assess: what the source holds, what would be quarantined, how long it may take. Reads only.
import { Command } from 'commander';
import { toReach } from '../../activities/preflight/index.ts';
import { openResources } from '../../activities/resources.ts';
import { assess as run, type Assessment } from '../../assess/index.ts';
import { home, readAddresses } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { bytes, print, printJson, table } from '../output.ts';

interface Options {
  readonly sample: string;
  readonly trialDocuments: string;
  readonly collection?: string;
  readonly fields?: boolean;
  readonly json?: boolean;
}

export const assess = (): Command =>
  new Command('assess')
    .description('count, weigh and sample the source; estimate the migration. Nothing is written')
    .option('--sample <n>', 'documents sampled per collection', '2000')
    .option('--trial-documents <n>', 'documents read and transformed to measure the speed', '20000')
    .option('--collection <name>', 'only this source collection')
    .option('--fields', 'also print the types of every field')
    .option('--json', 'print everything as JSON')
    .action(async (options: Options) => {
      const [sample, trialDocuments] = [options.sample, options.trialDocuments].map(Number) as [number, number];
      if (!Number.isInteger(sample) || sample < 1 || !Number.isInteger(trialDocuments) || trialDocuments < 1)
        throw new UsageError('--sample and --trial-documents are whole numbers from 1.');
      const resources = await openResources((await readAddresses()).addresses, home(), { host: '', process: '' });
      try {
        await toReach(resources).source.ask();
        const onProgress = (collection: string) =>
          void (process.stderr.isTTY && process.stderr.write(`  sampling ${collection}\n`));
        const found = await run(resources, { sample, trialDocuments, collection: options.collection, onProgress });
        if (options.collection !== undefined && found.collections.length === 0)
          throw new UsageError(`The source has no collection ${options.collection}.`);
        if (options.json) printJson(found);
        else show(found, options.fields === true);
      } finally {
        await resources.close();
      }
    });

function show(found: Assessment, withFields: boolean): void {
  print(`Source ${found.source}\n`);
  print(
    table(
      [
        'collection',
        'mapping',
        'documents',
        'average',
        'total',
        'per day',
        'indexes',
        'sampled',
        'load',
        'quarantine',
        'skip',
      ],
      found.collections.map((one) => [
        one.collection,
        one.mapping ?? 'none',
        one.documents,
        bytes(Math.round(one.averageBytes)),
        bytes(one.totalBytes),
        one.growth
          ? `${Math.round(one.growth.documentsPerDay)} (${bytes(Math.round(one.growth.bytesPerDay))}, by ${one.growth.from})`
          : 'not known',
        one.indexes.length,
        one.profile?.sampled ?? 0,
        one.mapping === null ? null : (one.profile?.loaded ?? 0),
        one.mapping === null
          ? null
          : Object.values(one.profile?.quarantined ?? {}).reduce((sum, count) => sum + count, 0),
        one.profile?.skipped ?? 0,
      ]),
    ),
  );
  const rules = found.collections.flatMap((one) =>
    Object.entries(one.profile?.quarantined ?? {}).map(([rule, count]) => [one.collection, rule, count]),
  );
  if (rules.length > 0)
    print(`\nWould be quarantined, of the sample:\n${table(['collection', 'rule', 'documents'], rules)}`);
  print('\nAccess patterns:');
  for (const one of found.collections.filter((it) => it.accessPatterns.patterns.length > 0))
    print(
      `  ${one.collection} (from ${one.accessPatterns.source === 'design' ? "the mapping's design; the server does not tell" : `the ${one.accessPatterns.source}`}): ${one.accessPatterns.patterns.join('; ')}`,
    );
  if (withFields)
    for (const one of found.collections)
      if (one.profile)
        print(
          `\n${one.collection}\n${table(
            ['field', 'present, %', 'types', 'unexpected', 'mapped'],
            one.profile.fields.map((field) => [
              field.path,
              Math.round(field.present * 100),
              Object.entries(field.types)
                .map(([type, count]) => `${type} ${count}`)
                .join(', '),
              field.unexpected,
              field.covered === false ? 'no' : field.covered ? 'yes' : '',
            ]),
          )}`,
        );
  const { strategy, measured } = found.estimate;
  print(`\nTime: ${strategy.total_documents} documents, ${strategy.total_size_gb.toFixed(2)} GB.`);
  print(
    `  By the strategy (1 000 documents/s, 10 GB/h, 4 workers): ${strategy.estimated_migration_hours.toFixed(2)} h, a window of ${strategy.recommended_window}.`,
  );
  if (measured)
    print(
      `  Measured on ${measured.documents} documents of ${measured.collection}: ${Math.round(measured.documentsPerSecond)} documents/s, about ${measured.estimated_hours.toFixed(2)} h (${measured.assumption}).`,
    );
  print(`Targets: ${found.targets.why}.`);
  if (found.warnings.length > 0) print(`\nWarnings:\n${found.warnings.map((warning) => `  - ${warning}`).join('\n')}`);
  print('\nNext: `causeway start --dry-run`.');
}
