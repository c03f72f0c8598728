// causeway decide: what the decision engine would have done, from evidence in a file and a policy that may be another.
import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import type { z } from 'zod';
import {
  decide as decideOn,
  defaultPolicy,
  evidenceSchema,
  policySchema,
  undecided,
  type Decision,
  type Evidence,
  type Policy,
} from '../../core/decision.ts';
import { sentenceOf } from '../../core/sentence.ts';
import { UsageError } from '../errors.ts';
import { print, printJson } from '../output.ts';

interface Options {
  readonly evidence: string;
  readonly policy?: string;
  readonly json?: boolean;
}

export const decide = (): Command =>
  new Command('decide')
    .description('what the rollback decision engine would have done, interval by interval; touches nothing')
    .requiredOption('--evidence <file>', 'one interval, a JSON array of them, or one per line, oldest first')
    .option('--policy <file>', "triggers and thresholds that differ from the strategy's, as JSON")
    .option('--json', 'print the decisions as JSON')
    .addHelpText(
      'after',
      '\nExit codes: 0 it would have gone on or held; 1 it would have rolled back; 2 a file cannot be read.',
    )
    .action(run);

async function run(options: Options): Promise<void> {
  const policy = options.policy === undefined ? defaultPolicy : await readPolicy(options.policy);
  const evidence = await readEvidence(options.evidence);
  const decisions: { readonly at: string; readonly decision: Decision }[] = [];
  let state = undecided;
  for (const [i, one] of evidence.entries()) {
    const decision = decideOn(evidence.slice(0, i + 1), policy, state);
    state = decision.state;
    decisions.push({ at: one.to, decision });
  }
  if (decisions.some(({ decision }) => decision.action === 'rollback')) process.exitCode = 1;
  if (options.json)
    return printJson(
      decisions.map(({ at, decision: { action, mode, severity, reasons } }) => ({
        at,
        action,
        mode,
        severity,
        reasons,
      })),
    );
  for (const { at, decision } of decisions) {
    const { action, mode, severity, reasons } = decision;
    print(`${at}  ${action}${mode ? ` (${mode})` : ''}${severity === 'none' ? '' : `, severity ${severity}`}`);
    for (const reason of reasons) print(`  ${sentenceOf(reason)}`);
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
}

async function readPolicy(file: string): Promise<Policy> {
  return checked(policySchema, parsed(await readText(file), file), file);
}

async function readEvidence(file: string): Promise<Evidence[]> {
  const text = await readText(file);
  const found = intervalsIn(text, file).map(([value, place]) => checked(evidenceSchema, value, place));
  if (found.length === 0) throw new UsageError(`${file} holds no evidence: give at least one interval.`);
  for (const [i, one] of found.entries()) {
    if (Date.parse(one.to) <= Date.parse(one.from))
      throw new UsageError(`${file}, interval ${i + 1}: it ends at ${one.to}, which is not after its begin.`);
    if (i > 0 && Date.parse(one.to) <= Date.parse(found[i - 1]!.to))
      throw new UsageError(`${file}, interval ${i + 1}: it ends at ${one.to}, not after the one before; oldest first.`);
  }
  return found;
}

/** A JSON value as a whole, or one per line; each with where it stands. */
function intervalsIn(text: string, file: string): (readonly [value: unknown, place: string])[] {
  const whole = attempt(text);
  if (whole) {
    const { value } = whole;
    return Array.isArray(value)
      ? value.map((one: unknown, i) => [one, `${file}, interval ${i + 1}`] as const)
      : [[value, file]];
  }
  const lines = text.split('\n').map((line, i) => [line.trim(), i + 1] as const);
  return lines
    .filter(([line]) => line !== '')
    .map(([line, number]) => [parsed(line, `${file}, line ${number}`), `${file}, line ${number}`] as const);
}

function attempt(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

function parsed(text: string, place: string): unknown {
  const read = attempt(text);
  if (!read) throw new UsageError(`${place}: this is no JSON.`);
  return read.value;
}

function checked<T>(schema: z.ZodType<T>, value: unknown, place: string): T {
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const problems = read.error.issues.map((issue) => `${issue.path.join('.') || 'it'}: ${issue.message}`);
  throw new UsageError(`${place}: ${problems.join('; ')}.`);
}
