// The settings a migration was started with, out of its workflow's first event: what compares targets with the source must transform as it did.
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js';
import type { Settings } from '../core/settings.ts';
import { rootId, type MigrationInput } from '../workflows/contract.ts';
import type { TemporalSession } from './connect.ts';

/** undefined where Temporal no longer knows the migration, or never did. */
export async function settingsOf({ client }: TemporalSession, migration: string): Promise<Settings | undefined> {
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
