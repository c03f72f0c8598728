// Where everything is: the environment's values, checked once at process start. Secrets come from here only.
import { z } from 'zod';
import { keyVariable, Vault } from '../control/vault.ts';
import { AddressError, readAddresses } from '../stores/address.ts';
import { readTemporal, type TemporalSettings } from './temporal.ts';
import type { Addresses } from '../activities/resources.ts';

const url = (protocols: readonly string[], example: string) =>
  z
    .string()
    .refine(
      (text) => protocols.some((protocol) => text.startsWith(`${protocol}://`)),
      `must begin with ${protocols.map((protocol) => `${protocol}://`).join(' or ')}, as in ${example}`,
    )
    .superRefine((text, context) => {
      try {
        readAddresses(text);
      } catch (error) {
        if (!(error instanceof AddressError)) throw error;
        context.addIssue({ code: 'custom', message: `${error.message}; as in ${example}` });
      }
    });

/** A key that cannot be read is refused before anything is written without it. */
function readable(text: string | undefined, context: z.RefinementCtx): void {
  try {
    if (text) Vault.from(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message.replace(`${keyVariable} `, '') });
  }
}

const schema = z.object({
  SOURCE_MONGODB_URL: url(['mongodb', 'mongodb+srv'], 'mongodb://host:27017/tradingagents'),
  TARGET_POSTGRES_URL: url(['postgres', 'postgresql'], 'postgres://user:password@host:5432/tradingagents'),
  TARGET_MONGODB_URL: url(['mongodb', 'mongodb+srv'], 'mongodb://host:27018/tradingagents'),
  [keyVariable]: z.string().optional().superRefine(readable),
  CAUSEWAY_SETTLING_MS: z
    .string()
    .regex(/^(?:|[1-9]\d{0,5})$/, 'must be a whole number of milliseconds, as in 1000')
    .optional(),
  TARGET_REDIS_URL: url(['redis', 'rediss'], 'redis://host:6379/0, or nodes of a cluster separated by commas'),
});

export interface Environment {
  readonly temporal: TemporalSettings;
  readonly addresses: Addresses;
}

export class EnvironmentError extends Error {
  override readonly name = 'EnvironmentError';
}

/** Throws EnvironmentError with a sentence per variable that is missing or malformed; values are not repeated, they may hold passwords. */
export function readEnvironment(values: Record<string, string | undefined>): Environment {
  const read = schema.safeParse(values);
  const temporal = readTemporal(values);
  if (!read.success || !temporal) {
    const problems = (read.error?.issues ?? []).map((issue) =>
      values[String(issue.path[0])] === undefined
        ? `${String(issue.path[0])} is not set`
        : `${String(issue.path[0])} ${issue.message}`,
    );
    if (!temporal) problems.unshift('TEMPORAL_ADDRESS is not set');
    throw new EnvironmentError(
      `${problems.join('; ')}. \`causeway stack up\` starts an embedded stack that sets them all.`,
    );
  }
  const { data } = read;
  return {
    temporal: temporal!,
    addresses: {
      source: data.SOURCE_MONGODB_URL,
      postgres: data.TARGET_POSTGRES_URL,
      mongodb: data.TARGET_MONGODB_URL,
      redis: data.TARGET_REDIS_URL,
    },
  };
}
