// What looks whether everything is right, begun by a phase, a command, or by hand.
import { z } from 'zod';
import type { RetryReport } from '../../activities/quarantine.ts';
import type { Summary } from '../../activities/verify/index.ts';
import { checkNames, type CheckName } from '../../core/checks.ts';
import { settingsSchema, type Settings } from '../../core/settings.ts';
import * as quarantine from '../children/quarantine-retry.ts';
import * as children from '../children/validation.ts';
import * as every from '../children/verification.ts';
import type { VerificationInput } from '../children/verification.ts';
import type { RetryRequest } from '../contract.ts';
import { begun, isGiven, isObject, one, refuseUnknown } from '../lib/by-hand.ts';
import { migrationMeant, readInput } from '../lib/inputs.ts';

const validationInput = z.strictObject({
  ...one,
  collections: z.array(z.string()).min(1).optional(),
  checks: z.array(z.enum(checkNames)).min(1).optional(),
  settings: settingsSchema.optional(),
});

/** By hand: `{}` for every check of every collection that was copied. A phase gives names, collections and settings by place. */
export async function validation(
  given?: unknown,
  collections?: readonly string[],
  settings?: Settings,
  checks?: readonly CheckName[],
): Promise<children.ValidationSummary[]> {
  if (typeof given === 'string' && Array.isArray(collections) && isObject(settings))
    return children.validation(migrationMeant(given), collections, settings, checks);
  const asked = readInput(validationInput, given, 'migration');
  const name = migrationMeant(asked.migration);
  const known = await begun(name);
  refuseUnknown(name, asked.collections, known.collections);
  return children.validation(
    name,
    asked.collections ?? known.collections,
    (asked.settings as Settings | undefined) ?? known.settings,
    asked.checks,
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
  if (
    isGiven<VerificationInput>(given, { migration: 'string', order: 'object', repair: 'boolean', restart: 'boolean' })
  ) {
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
  const known = await begun(migration);
  refuseUnknown(migration, collections, known.collections);
  const { zone, providers, configurationDirectory, verifyRowsPerSecond } = known.settings;
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

/** By hand: `{}` tries everything again, a text is the rule. */
export async function quarantineRetry(given?: unknown, request?: RetryRequest): Promise<RetryReport> {
  if (typeof given === 'string' && isGiven<RetryRequest>(request, { dryRun: 'boolean' }))
    return quarantine.quarantineRetry(migrationMeant(given), request);
  const schema = z.strictObject({
    ...one,
    rule: z.string().min(1).optional(),
    collection: z.string().min(1).optional(),
    dryRun: z.boolean().default(false),
  });
  const { migration: name, rule, collection, dryRun } = readInput(schema, given, 'rule');
  const migration = migrationMeant(name);
  const known = await begun(migration);
  refuseUnknown(migration, collection === undefined ? undefined : [collection], known.collections);
  return quarantine.quarantineRetry(migration, { dryRun, ...(rule && { rule }), ...(collection && { collection }) });
}
