// What a person types who starts a workflow by hand: `{}`, a name, or as much as is to differ from the defaults. Read by zod; what is wrong ends the workflow
// as failed, with a sentence per problem, and never its tasks again and again.
import { ApplicationFailure, workflowInfo } from '@temporalio/workflow';
import { z } from 'zod';
import { ownerOf, refuseMigrationName } from '../../core/owner.ts';
import { settingsSchema, type Settings } from '../../core/settings.ts';
import { phases } from '../../core/story.ts';
import type { MigrationInput } from '../contract.ts';

export const refuseInput = (problems: readonly string[]): ApplicationFailure =>
  ApplicationFailure.nonRetryable(`The input is refused: ${problems.join('; ')}.`, 'InputRefused');

/** Throws a failure of the workflow. `text`: the field that a bare text stands for. */
export function readInput<T extends z.ZodType>(schema: T, input: unknown, text: string): z.infer<T> {
  const given = typeof input === 'string' ? { [text]: input } : (input ?? {});
  const read = schema.safeParse(given);
  if (read.success) return read.data;
  throw refuseInput(
    read.error.issues.map((issue) => `${issue.path.join('.') || 'the whole'}: ${lowerFirst(issue.message)}`),
  );
}

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);
const uuid = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/**
 * The migration that is meant: the one that is named, else the one of the workflow's id (`migration/<name>`, or the name alone), else the one of the queue. It has to
 * be the queue's: a worker serves one.
 */
export function migrationMeant(given: string | undefined): string {
  const { workflowId, taskQueue } = workflowInfo();
  const owner = ownerOf(taskQueue);
  const name = given ?? nameOf(workflowId) ?? owner?.migration ?? 'default';
  const refusal = refuseMigrationName(name);
  if (refusal !== undefined) throw refuseInput([refusal.replace(/\.$/, '')]);
  if (owner && owner.migration !== name)
    throw refuseInput([
      `the queue ${taskQueue} is of the migration "${owner.migration}", not of "${name}"; \`causeway worker --migration ${name}\` prints the queue that it serves`,
    ]);
  return name;
}

function nameOf(workflowId: string): string | undefined {
  const [first, second] = workflowId.split('/');
  if (first === 'migration' && second) return second;
  return second === undefined && !uuid.test(workflowId) && refuseMigrationName(workflowId) === undefined
    ? workflowId
    : undefined;
}

const migrationSchema = z.strictObject({
  name: z.string().optional(),
  settings: settingsSchema.prefault({}),
  until: z.enum(phases).default('cutover'),
});

export function readMigration(input: unknown): MigrationInput {
  const { name, settings, until } = readInput(migrationSchema, input, 'name');
  return { name: migrationMeant(name), settings: settings as Settings, until };
}
