// What workflows that a person may start by hand have in common: whether the input is a parent's or a command's, whose migration is meant, and what it was started with.
import { upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import { z } from 'zod';
import type { StartedWith } from '../../activities/started-with.ts';
import { refuseName } from '../../core/checkpoints.ts';
import type { Settings } from '../../core/settings.ts';
import { control } from '../proxies.ts';
import { hasAttributes, migrationName } from './attributes.ts';
import { refuseInput } from './inputs.ts';

/** Of every input: which migration, where it is not that of the workflow's id. */
export const one = { migration: z.string().optional() };

/** Started by hand it has no search attributes; where the server knows them, it sets its own. */
export async function adoptAttributes(name: string): Promise<void> {
  if (hasAttributes()) return;
  const known = await control.searchAttributesKnown().catch(() => false);
  if (known) upsertSearchAttributes([{ key: migrationName, value: name }]);
}

export const isObject = (input: unknown): input is object => typeof input === 'object' && input !== null;

/** As a parent or a command gives it, with everything filled in. */
export const isGiven = <T>(
  input: unknown,
  fields: Partial<Record<keyof T & string, 'string' | 'boolean' | 'object'>>,
): input is T =>
  isObject(input) &&
  Object.entries(fields).every(([field, type]) => typeof (input as Record<string, unknown>)[field] === type);

/** The checkpoint's, where the workflow's id has the form that is looked for. */
export function nameInId(): string | undefined {
  const name = /^migration\/[^/]+\/(?:snapshot|checkpoint)\/([^/]+)$/.exec(workflowInfo().workflowId)?.[1];
  return name !== undefined && refuseName(name) === undefined ? name : undefined;
}

export function refuseUnknown(migration: string, asked: readonly string[] | undefined, known: readonly string[]): void {
  const unknown = (asked ?? []).filter((collection) => !known.includes(collection));
  if (unknown.length > 0)
    throw refuseInput([
      `the migration ${migration} has no collection ${unknown.join(', ')}; it has ${known.join(', ') || 'none yet'}`,
    ]);
}

/** What the migration was started with. */
export async function begun(name: string): Promise<StartedWith & { readonly settings: Settings }> {
  void adoptAttributes(name);
  const { settings, collections } = await control.startedWith();
  if (settings === null) throw refuseInput([`the migration ${name} has not begun on the stores of this queue`]);
  return { settings, collections };
}
