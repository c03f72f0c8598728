// The workflows that a person may start by hand, from Temporal's web UI or its CLI: each reads what was typed before anything else, and fills in the defaults.
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { executeChild, ParentClosePolicy, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import { z } from 'zod';
import type { Created } from '../activities/checkpoint/create.ts';
import type { StartedWith } from '../activities/started-with.ts';
import type { CheckName } from '../activities/validate.ts';
import type { Summary } from '../activities/verify/index.ts';
import { nameAt, refuseName } from '../core/checkpoints.ts';
import { settingsSchema, type Settings } from '../core/settings.ts';
import type { MigrationState } from '../core/state.ts';
import * as end from './children/decommission.ts';
import type { Decommissioned, DecommissionInput } from './children/decommission.ts';
import * as back from './children/restore.ts';
import type { Restored, RestoreInput } from './children/restore.ts';
import * as stores from './children/snapshot.ts';
import type { SnapshotInput } from './children/snapshot.ts';
import * as children from './children/validation.ts';
import * as every from './children/verification.ts';
import type { VerificationInput } from './children/verification.ts';
import { rootId, type MigrationInput, type MigrationOutcome } from './contract.ts';
import { hasAttributes, migrationName } from './lib/attributes.ts';
import { migrationMeant, readInput, readMigration, refuseInput } from './lib/inputs.ts';
import * as story from './migration.ts';
import { control } from './proxies.ts';

/** `saved`: of a run that goes on in a new history. */
export function migration(given?: unknown, saved?: MigrationState): Promise<MigrationOutcome> {
  // A promise, never a throw: what is wrong with the input fails the workflow.
  const read = reading(() => readMigration(given));
  if (!('input' in read)) return Promise.reject(read.error as Error);
  const { input } = read;
  if (workflowInfo().workflowId !== rootId(input.name)) return underItsName(input);
  void adoptAttributes(input.name);
  return story.migration(input, saved);
}

function reading<T>(read: () => T): { readonly input: T } | { readonly error: unknown } {
  try {
    return { input: read() };
  } catch (error) {
    return { error };
  }
}

/** Every command looks for the root by its id: one that was started under another begins the root, and ends as that ends. */
async function underItsName(input: MigrationInput): Promise<MigrationOutcome> {
  const workflowId = rootId(input.name);
  try {
    return await executeChild(migration, {
      workflowId,
      args: [input],
      parentClosePolicy: ParentClosePolicy.ABANDON,
      cancellationType: 'ABANDON',
      staticSummary: `migration ${input.name}`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw refuseInput([`the migration ${input.name} is running already, as ${workflowId}`]);
  }
}

/** Started by hand it has no search attributes; where the server knows them, it sets its own. */
async function adoptAttributes(name: string): Promise<void> {
  if (hasAttributes()) return;
  const known = await control.searchAttributesKnown().catch(() => false);
  if (known) upsertSearchAttributes([{ key: migrationName, value: name }]);
}

const one = { migration: z.string().optional() };
const validationInput = z.strictObject({
  ...one,
  collections: z.array(z.string()).min(1).optional(),
  checks: z.array(z.string()).min(1).optional(),
  settings: settingsSchema.optional(),
});

/** By hand: `{}` for every check of every collection that was copied. A phase gives names, collections and settings by place. */
export async function validation(
  given?: unknown,
  collections?: readonly string[],
  settings?: Settings,
  checks?: readonly CheckName[],
): Promise<children.ValidationSummary[]> {
  if (typeof given === 'string' && collections && settings)
    return children.validation(migrationMeant(given), collections, settings, checks);
  const asked = readInput(validationInput, given, 'migration');
  const name = migrationMeant(asked.migration);
  const known = await begun(name);
  const unknown = (asked.collections ?? []).filter((collection) => !known.collections.includes(collection));
  if (unknown.length > 0)
    throw refuseInput([
      `the migration ${name} has no collection ${unknown.join(', ')}; it has ${known.collections.join(', ')}`,
    ]);
  return children.validation(
    name,
    asked.collections ?? known.collections,
    (asked.settings as Settings | undefined) ?? known.settings,
    asked.checks as CheckName[] | undefined,
  );
}

const verificationInput = z.strictObject({
  ...one,
  collections: z.array(z.string()).min(1).optional(),
  repair: z.boolean().default(false),
  restart: z.boolean().default(false),
  rowsPerSecond: z.number().min(0).optional(),
});

export async function verification(given?: unknown): Promise<Summary> {
  if (isGiven<VerificationInput>(given, 'order')) {
    migrationMeant(given.migration);
    return every.verification(given);
  }
  const {
    migration: name,
    collections,
    repair,
    restart,
    rowsPerSecond,
  } = readInput(verificationInput, given, 'migration');
  const migration = migrationMeant(name);
  const { settings } = await begun(migration);
  const { zone, providers, configurationDirectory, verifyRowsPerSecond } = settings;
  return every.verification({
    migration,
    order: {
      ...(collections && { collections }),
      zone,
      providers,
      configurationDirectory,
      rowsPerSecond: rowsPerSecond ?? verifyRowsPerSecond,
      ...(repair && { restoreKeys: true }),
    },
    repair,
    restart,
  });
}

const checkpointName = z.string().superRefine((text, context) => {
  const refusal = refuseName(text);
  if (refusal) context.addIssue({ code: 'custom', message: refusal.replace(/\.$/, '') });
});

/** By hand: `{}`, or the checkpoint's name. */
export async function snapshot(given?: unknown): Promise<Created> {
  if (isGiven<SnapshotInput>(given, 'snapshotDirectory')) {
    migrationMeant(given.migration);
    return stores.snapshot(given);
  }
  const asked = readInput(z.strictObject({ ...one, name: checkpointName.optional() }), given, 'name');
  const migration = migrationMeant(asked.migration);
  const { settings } = await begun(migration);
  const name = asked.name ?? nameAt(new Date());
  return stores.snapshot({ migration, name, snapshotDirectory: settings.snapshotDirectory, workflow: null });
}

/** By hand: the checkpoint's name verifies it; `{"name": "…", "dryRun": false}` puts it back. */
export async function restore(given?: unknown): Promise<Restored> {
  if (isGiven<RestoreInput>(given, 'snapshotDirectory')) {
    migrationMeant(given.migration);
    return back.restore(given);
  }
  const schema = z.strictObject({ ...one, name: checkpointName, dryRun: z.boolean().default(true) });
  const asked = readInput(schema, given, 'name');
  const migration = migrationMeant(asked.migration);
  const { settings } = await begun(migration);
  const { snapshotDirectory } = settings;
  return back.restore({ migration, name: asked.name, dryRun: asked.dryRun, snapshotDirectory, host: null, settings });
}

export async function decommission(given?: unknown): Promise<Decommissioned> {
  if (isGiven<DecommissionInput>(given, 'snapshotDirectory')) {
    migrationMeant(given.migration);
    return end.decommission(given);
  }
  const schema = z.strictObject({
    ...one,
    /** Nothing is taken out of use by an empty form. */
    confirm: z.literal(true, 'give {"confirm": true}: the old collections are saved, closed and renamed'),
    removeLedger: z.boolean().default(false),
  });
  const asked = readInput(schema, given, 'migration');
  const migration = migrationMeant(asked.migration);
  const { settings } = await begun(migration);
  return end.decommission({
    migration,
    snapshotDirectory: settings.snapshotDirectory,
    removeLedger: asked.removeLedger,
  });
}

/** As a parent or a command gives it, with everything filled in. */
const isGiven = <T>(input: unknown, field: keyof T & string): input is T =>
  typeof input === 'object' && input !== null && Object.hasOwn(input, field);

/** What the migration was started with. */
async function begun(name: string): Promise<StartedWith & { readonly settings: Settings }> {
  const { settings, collections } = await control.startedWith();
  if (settings === null) throw refuseInput([`the migration ${name} has not begun on the stores of this queue`]);
  return { settings, collections };
}
