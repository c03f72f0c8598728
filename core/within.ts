// A limit in time for what has none of its own.

/** What `work` answers; throws what `late` makes where that takes longer than `ms`. The work is not broken off: how it ends is then nobody's concern. */
export async function within<T>(ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms);
  });
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}
