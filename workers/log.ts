// What a worker says on standard error: a line for each thing that may be expected, and the stack only of a defect.
import { inspect } from 'node:util';
import type { LogEntry } from '@temporalio/worker';
import { isFailureType } from '../core/failures.ts';

/** Whose queue and token it is says nothing to whoever reads the log: the workflow's id leads to all of it. */
const unsaid = new Set([
  'namespace',
  'taskQueue',
  'runId',
  'workflowId',
  'workflowType',
  'sdkComponent',
  'activityId',
  'activityType',
  'attempt',
  'isLocal',
  'taskToken',
  'task_token',
  'durationMs',
  'error',
  'order',
  'reason',
]);

export function lineOf({ level, message, meta = {}, timestampNanos }: LogEntry): string {
  const at = new Date(Number(timestampNanos / 1_000_000n)).toISOString();
  return `${at} [${level}] ${whatOf(message, meta)}${whereOf(meta)}${restOf(meta)}${stackOf(message, meta)}`;
}

type Meta = Record<string | symbol, unknown>;
const text = (value: unknown): string =>
  typeof value === 'string' ? value : inspect(value, { breakLength: Infinity });
const oneLine = (value: string): string => value.replace(/\s*\n\s*/g, ' ');

function whatOf(message: string, meta: Meta): string {
  const { activityType, attempt, error, order, reason } = meta;
  const told = [
    activityType !== undefined && error !== undefined ? `${text(activityType)}, attempt ${text(attempt)}` : undefined,
    order === undefined ? undefined : text(order),
    error === undefined ? undefined : sentenceOf(error),
    reason === undefined ? undefined : text(reason),
  ];
  return oneLine([message, ...told.filter((one) => one !== undefined)].join(': '));
}

const whereOf = ({ workflowId }: Meta): string => (workflowId === undefined ? '' : ` (${text(workflowId)})`);

const restOf = (meta: Meta): string =>
  Object.entries(meta)
    .filter(([name, value]) => !unsaid.has(name) && value !== undefined)
    .map(([name, value]) => ` ${name}=${oneLine(text(value))}`)
    .join('');

/** Temporal's errors say in their causes what it was. */
function causeOf(error: unknown): unknown {
  let at = error;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  return at;
}

function sentenceOf(error: unknown): string {
  const cause = causeOf(error);
  if (!(cause instanceof Error)) return text(cause);
  const { type } = cause as { type?: unknown };
  return typeof type === 'string' ? `${type}: ${cause.message}` : cause.message;
}

/** A workflow fails only by what was classified before, and an activity's defect has been told by whoever ran it. */
function stackOf(message: string, { error }: Meta): string {
  if (!(error instanceof Error) || message === 'Workflow failed') return '';
  const { type } = error as { type?: unknown };
  if (typeof type === 'string' && isFailureType(type) && type !== 'Defect') return '';
  return `\n${framesOf(error)}`;
}

/** Where it was; what it said is told already. */
function framesOf({ stack = '' }: Error): string {
  return stack
    .split('\n')
    .filter((line) => /^\s+at .*\)?$/.test(line))
    .join('\n');
}
