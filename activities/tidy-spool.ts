// Documents left in the spool by workers that died: they are removed when a worker starts and now and then, by what the control schema says.
import type pg from 'pg';
import { awaitedSegments } from '../control/batches.ts';
import { segmentName, type Spool } from '../spool/segment.ts';

/** A segment that a copy may still ask for is kept this long; after it the copy reads it from the source again. */
const awaitedMs = 3_600_000;

/**
 * Removes drafts whose process is gone, segments that have been loaded, and those that no plan waits for; everything where there is no copy.
 * Returns how many were removed. Safe beside other workers of this host: their drafts and the segments on their way stay.
 */
export async function tidySpool(spool: Spool, pool: pg.Pool, now = Date.now()): Promise<number> {
  const all = await spool.segments();
  if (all.length === 0) return 0;
  const awaited = await awaitedSegments(pool, all.map((one) => one.path).filter(isWhole));
  let removed = 0;
  for (const { path, changedAt } of all) {
    const name = segmentName(path.split('/').at(-1)!);
    const needed =
      name !== undefined &&
      ('draftOf' in name ? isRunning(name.draftOf) : awaited.has(path) && now - changedAt.getTime() < awaitedMs);
    if (needed) continue;
    await spool.forget(path);
    removed++;
  }
  return removed;
}

const isWhole = (path: string): boolean => {
  const name = segmentName(path.split('/').at(-1)!);
  return name !== undefined && 'segment' in name;
};

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Somebody else's process is a process too.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
