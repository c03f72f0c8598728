// What one check comes to, from the parts it is made of.
import { KnownFailure } from '../../core/failures.ts';

export type CheckStatus = 'passed' | 'failed' | 'error' | 'skipped';

/** A difference that was found outweighs a part that could not be looked at; nothing looked at is no pass. */
export function worstOf(parts: readonly { readonly status: CheckStatus }[]): CheckStatus {
  if (parts.some((part) => part.status === 'failed')) return 'failed';
  if (parts.some((part) => part.status === 'error')) return 'error';
  return parts.some((part) => part.status === 'passed') ? 'passed' : 'skipped';
}

/**
 * A sentence without a document's content. A store that cannot be reached says nothing about the data and is thrown on: the activity is
 * tried again.
 */
export function sentenceOf(error: unknown): string {
  if (error instanceof KnownFailure) {
    if (error.type === 'StoreUnreachable') throw error;
    return error.message;
  }
  return `the check itself failed (${error instanceof Error ? error.name : typeof error})`;
}
