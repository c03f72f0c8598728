// Several things at once, of which one may fail.

/** Waits for all, also when one has failed: what still ran would write for somebody who has given up. */
export async function settledAll<T extends readonly unknown[]>(
  work: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const outcomes = await Promise.allSettled(work);
  const failed = outcomes.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
  return outcomes.map((one) => (one as PromiseFulfilledResult<unknown>).value) as never;
}
