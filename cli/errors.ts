// Errors as an operator reads them, and the exit code each means: 1 a check failed, 2 usage, 3 a service cannot be reached.
import {
  ServiceError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  isGrpcServiceError,
} from '@temporalio/client';
import { rootCause } from '@temporalio/common';
import { UnreachableError } from '../workers/temporal.ts';
import { KnownFailure } from '../core/failures.ts';

/** Something only the caller can put right. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export { UnreachableError };

/** An order that the migration, as it stands, does not take. */
export class OrderRefused extends Error {
  override readonly name = 'OrderRefused';
}

export function explain(error: unknown): { message: string; code: 1 | 2 | 3 } {
  if (!(error instanceof Error)) return { message: String(error), code: 1 };
  if (
    error instanceof UsageError ||
    error.name === 'EnvironmentError' ||
    error.name === 'MappingError' ||
    error.name === 'VaultError' ||
    error.name === 'SeedError'
  )
    return { message: error.message, code: 2 };
  if (error instanceof OrderRefused) return { message: error.message, code: 1 };
  if (error instanceof UnreachableError) return { message: error.message, code: 3 };
  if (error instanceof KnownFailure) {
    if (error.type === 'StoreUnreachable' || error.type === 'AuthenticationFailed')
      return { message: error.message, code: 3 };
    return {
      message: error.message,
      code: error.type === 'ConfigurationInvalid' || error.type === 'NoSuchDatabase' ? 2 : 1,
    };
  }
  if (error instanceof WorkflowUpdateFailedError)
    return { message: `refused: ${error.cause?.message ?? error.message}`, code: 1 };
  if (error instanceof WorkflowFailedError) return { message: rootCause(error.cause) ?? error.message, code: 1 };
  if (error instanceof WorkflowNotFoundError)
    return {
      message: 'No such migration is known to Temporal. `causeway start` begins one; `--migration NAME` names another.',
      code: 1,
    };
  if (error instanceof ServiceError || isGrpcServiceError(error)) {
    const cause = error.cause as { code?: number; details?: string } | undefined;
    const details = cause?.details ?? error.message;
    // 14: unavailable, 4: deadline exceeded.
    if (cause?.code === 14 || cause?.code === 4)
      return { message: `Temporal does not answer (${details}). Check that the server and a worker run.`, code: 3 };
    return { message: details, code: 1 };
  }
  return { message: error.message, code: 1 };
}
