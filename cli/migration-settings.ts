// The settings a migration was started with, out of its workflow's first event: what works on its data later must go by them too.
import { readFile } from 'node:fs/promises';
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js';
import { readSettings, type Settings } from '../core/settings.ts';
import { rootId, type MigrationInput } from '../workflows/contract.ts';
import { withTemporal, type TemporalSession } from './connect.ts';
import { UnreachableError, UsageError } from './errors.ts';

/** What `--config` says, for the commands that work on a migration which has been started. */
export const configOption = [
  '--config <file>',
  'settings, where they are not those the migration was started with',
] as const;

/** Those of the file; without one those the migration was started with, as far as Temporal still knows; else the defaults. */
export async function settingsFor(session: TemporalSession, migration: string, file?: string): Promise<Settings> {
  if (file !== undefined) return settingsFrom(file);
  const known = await settingsOf(session, migration);
  return known ? settingsStarted(migration, known) : settingsFrom(undefined);
}

/** As they were kept. Throws UsageError where another version has kept them. */
export function settingsStarted(migration: string, kept: unknown): Settings {
  const read = readSettings(kept);
  if ('problems' in read)
    throw new UsageError(
      `The settings that ${migration} was started with are of another version (${read.problems.join('; ')}): give them with --config.`,
    );
  return read.settings;
}

/** The same for a command that needs no Temporal: where there is none, the file or the defaults. */
export const settingsAnyhow = (migration: string, file?: string): Promise<Settings> =>
  file !== undefined
    ? settingsFrom(file)
    : withTemporal((session) => settingsFor(session, migration)).catch((error: unknown) => {
        if (!(error instanceof UnreachableError)) throw error;
        return settingsFrom(undefined);
      });

/** Defaults without a file. Throws UsageError with a sentence per problem. */
export async function settingsFrom(file: string | undefined): Promise<Settings> {
  const text =
    file === undefined
      ? '{}'
      : await readFile(file, 'utf8').catch(() =>
          Promise.reject(new UsageError(`The configuration file ${file} cannot be read.`)),
        );
  let input: unknown;
  try {
    input = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`The configuration file ${file} is no JSON: ${(error as Error).message}`);
  }
  const read = readSettings(input);
  if ('problems' in read)
    throw new UsageError(
      `The configuration ${file} is refused: ${read.problems.join('; ')}. Known settings are in docs/settings.md.`,
    );
  return read.settings;
}

/** undefined where Temporal no longer knows the migration, or never did. */
async function settingsOf({ client }: TemporalSession, migration: string): Promise<Settings | undefined> {
  const history = await client.workflowService
    .getWorkflowExecutionHistory({
      namespace: client.options.namespace,
      execution: { workflowId: rootId(migration) },
      maximumPageSize: 1,
    })
    .catch((error: { code?: number }) => {
      if (error.code === notFound) return undefined;
      throw error;
    });
  const payloads = history?.history?.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads;
  if (!payloads) return undefined;
  const [input] = (await decodeArrayFromPayloads(client.options.loadedDataConverter, payloads)) as [MigrationInput?];
  return input?.settings;
}

/** gRPC. */
const notFound = 5;
