// causeway explain: where one document is, how it came there, and from a target's row, key or document back to it.
import { Command } from 'commander';
import { openResources, type Resources } from '../../activities/resources.ts';
import { explainDocument, explainEntry, mappingFor, type Explanation, type Unknown } from '../../lineage/index.ts';
import type { Landed } from '../../lineage/landed.ts';
import { fromDocument, fromKey, fromRow, type Sought } from '../../lineage/reverse.ts';
import type { SeenVersion } from '../../control/lineage.ts';
import { hasQuarantine } from '../../control/quarantine.ts';
import { checkName, home, readAddresses } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { print, printJson, table } from '../output.ts';
import { common } from './orders.ts';

interface Options {
  readonly migration: string;
  readonly row?: string[];
  readonly key?: string;
  readonly document?: string[];
  readonly json?: boolean;
}

export const explain = (): Command =>
  common(
    new Command('explain').description(
      'one document: its versions, where it stands in every target, quarantine, verification, routing',
    ),
  )
    .argument('[collection]', 'name of the mapping, or of the source collection')
    .argument('[id]', 'its _id: 24 hex digits, a quoted string, Extended JSON, a number, or plain text')
    .option('--row <table-and-id...>', 'back from a row of PostgreSQL: TABLE ID')
    .option('--key <redis-key>', 'back from a key of Redis')
    .option('--document <collection-and-id...>', 'back from a document of the target MongoDB: COLLECTION ID')
    .action((collection: string | undefined, id: string | undefined, options: Options) => run(collection, id, options));

async function run(collection: string | undefined, id: string | undefined, options: Options): Promise<void> {
  checkName(options.migration);
  const ways = [collection, options.row, options.key, options.document].filter((way) => way !== undefined);
  if (ways.length !== 1 || (collection === undefined) !== (id === undefined))
    throw new UsageError(
      'Give COLLECTION ID, or one of --row TABLE ID, --key KEY, --document COLLECTION ID. `causeway explain --help` has the forms an id may take.',
    );
  const resources = await openResources((await readAddresses()).addresses, home(), { host: '', process: '' });
  try {
    if (!(await hasQuarantine(resources.postgres)))
      throw new UsageError(
        'The target database has no ledger yet, so no document has been seen. `causeway start` makes it.',
      );
    if (collection !== undefined && id !== undefined) return say(options, await forward(resources, collection, id));
    const sought = await back(resources, options);
    if ('entry' in sought) return say(options, await explainEntry(resources, sought.mapping, sought.entry));
    if (sought.known)
      throw new UsageError(
        `${sought.answer}${sought.known.length > 0 ? ` There are: ${sought.known.join(', ')}.` : ''}`,
      );
    process.exitCode = 1;
    if (options.json) printJson({ state: 'unknown', answer: sought.answer });
    else print(sought.answer);
  } finally {
    await resources.close();
  }
}

function forward(resources: Resources, collection: string, id: string): Promise<Explanation | Unknown> {
  const mapping = mappingFor(resources, collection);
  if (!mapping)
    throw new UsageError(
      `There is no mapping for ${collection}. There are: ${[...resources.mappings.keys()].join(', ')}.`,
    );
  return explainDocument(resources, mapping, collection, id);
}

function back(resources: Resources, options: Options): Promise<Sought> {
  if (options.key !== undefined) return fromKey(resources, options.key);
  const [of, id, ...more] = (options.row ?? options.document)!;
  if (of === undefined || id === undefined || more.length > 0)
    throw new UsageError(`${options.row ? '--row takes TABLE ID' : '--document takes COLLECTION ID'}: two words.`);
  return options.row ? fromRow(resources, of, id) : fromDocument(resources, of, id);
}

/** A document that nobody knows is an answer, with exit code 1. */
function say(options: Options, found: Explanation | Unknown): void {
  if (!('version' in found)) process.exitCode = 1;
  if (options.json) return printJson(found);
  if (!('version' in found)) return print(`${found.collection}: ${found.answer}`);
  print(textOf(found));
}

function textOf(found: Explanation): string {
  const { document, current } = found.mapping;
  const parts = [
    `${found.collection} ${found.sourceId} (from ${found.source}${found.takenFor === null ? '' : `; the id was taken for ${found.takenFor}`})`,
    found.answer,
    section(
      'Versions',
      table(
        ['', 'cluster time', 'at', 'came by', 'state', 'mapping', 'superseded'],
        [found.version, ...found.earlier].map((one, i) => versionRow(one, i === 0 ? 'now' : '')),
      ),
    ),
    `Mapping version ${document}${document === current ? '' : `; this checkout has ${current}`}.`,
    found.targets.length === 0 ? '' : section('Became', found.targets.map(landedText).join('\n')),
    found.quarantine.length === 0
      ? ''
      : section(
          'Quarantine',
          table(
            ['rule', 'path', 'type', 'since', 'tried', 'until', 'became'],
            found.quarantine.map((one) => [
              one.rule,
              one.path,
              one.type ?? '',
              one.createdAt,
              one.attempts,
              one.resolvedAt ?? 'still here',
              one.resolution ?? '',
            ]),
          ),
        ),
    waitingText(found),
    verifiedText(found),
    found.routing
      ? `Routing: ${found.routing.percentage} % of reads on the new system, writes ${found.routing.writeMode}, epoch ${found.routing.epoch}.`
      : 'Routing: not set yet; everything goes to the old system.',
    ...found.others.map((one) => `Also: ${one.source} ${one.sourceId}, ${one.state}.`),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

const section = (title: string, body: string): string => `${title}\n${body.replace(/^/gm, '  ')}`;

const versionRow = (one: SeenVersion, when: string) => [
  when,
  `${one.clusterTime}${one.operation === null ? '' : ` #${one.operation}`}`,
  one.at,
  one.came,
  one.rule === null ? one.state : `${one.state}: ${one.rule}`,
  one.mappingVersion,
  one.supersededAt ?? '',
];

function landedText(one: Landed): string {
  switch (one.store) {
    case 'postgres':
      return `PostgreSQL ${one.table} id ${one.id}${one.time === null ? '' : ` at ${one.time}`}${one.partition === one.table ? '' : `, in ${one.partition}`}\n  ${JSON.stringify(one.row)}`;
    case 'mongodb':
      return `MongoDB ${one.collection} _id ${one.id}, guard ${one.guard ?? 'missing'}\n  ${one.document === null ? 'not there' : JSON.stringify(one.document)}`;
    case 'redis':
      return `Redis ${one.key}: ${one.ttlMs === null ? 'not there any more, expired or evicted' : one.ttlMs < 0 ? 'without an expiry' : `${Math.round(one.ttlMs / 1000)} s to live`}${one.value === null ? '' : `\n  ${JSON.stringify(one.value)}`}`;
    case 'files':
      return `File ${one.file}, under ${one.key}`;
  }
}

function waitingText({ waiting: { elections, redo, unresolved } }: Explanation): string {
  const lines = [
    ...elections.map(
      (one) =>
        `lost ${one.path} to another document${one.winnerSource ? ` of ${one.winnerSource}` : ''}${one.winner ? `, ${one.winner}` : ''} (${one.rule})`,
    ),
    ...redo.map((one) => `to be read again: ${one.reason}, tried ${one.tries} times`),
    ...unresolved.map((one) => `names a row of ${one.parent} by ${one.column} that is not there`),
  ];
  return lines.length === 0 ? '' : section('Waits', lines.join('\n'));
}

function verifiedText({ verified: { validation, run, findings, divergence } }: Explanation): string {
  const lines = [
    validation
      ? `Last validation of the collection: ${validation.status}, ${validation.at}.`
      : 'The collection has not been validated yet.',
    run
      ? `Last verified by run ${run.run}, as of clusterTime ${run.asOf}: ${findings.some((one) => one.run === run.run) ? 'see below' : 'nothing was found of it'}.`
      : 'Not verified yet: `causeway verify` does it.',
    ...(divergence ? [`The checks of a stage know it as ${divergence.kind} since ${divergence.since}.`] : []),
  ];
  if (findings.length === 0) return lines.join('\n');
  const rows = findings.map((one) => [
    one.run,
    one.kind === 'key' ? one.id : 'the document',
    one.state,
    one.finding ?? '',
    one.differs.join(', '),
    one.since ?? '',
    one.repairedAt ?? '',
  ]);
  const head = ['run', 'of', 'state', 'finding', 'what differs', 'since', 'repaired'];
  return `${lines.join('\n')}\n${section('Verification', table(head, rows))}`;
}
