// Whether what was written to the source before a moment stands in the targets, while writing goes on.
import { currentGap, readStream } from '../../control/capture.ts';
import { mark } from '../../control/stale-files.ts';
import { KnownFailure } from '../../core/failures.ts';
import { query } from '../../stores/postgres/connection.ts';
import { feedsOf } from '../apply.ts';
import type { Resources } from '../resources.ts';
import { findReferences, parentsOf } from './redo.ts';

/**
 * To be called again and again: true when every change up to `version` (cluster time, decimal text) has been applied, and what these changes left
 * to be done has been: documents to be read again, files to be written. What later changes leave is not waited for: under load there is always
 * some. Throws CaptureGap where it will not come so far.
 */
export function catchingUp({ postgres }: Pick<Resources, 'postgres'>, version: string): () => Promise<boolean> {
  let left: { readonly at: string; readonly files: readonly string[] } | undefined;
  return async () => {
    const gap = await currentGap(postgres);
    if (gap) throw new KnownFailure('CaptureGap', gap.detail);
    if (!left) {
      const stream = await readStream(postgres);
      if (!stream) return false;
      const [row] = await query<{ first: string | null; at: string; files: string[] }>(
        postgres,
        'looking how far capture has come',
        `select (select min(first_version) from migration_control.captured) as first, clock_timestamp()::text as at,
                array(select ${mark} from migration_control.stale_files) as files`,
      );
      const reached = row!.first === null ? stream.version : BigInt(row!.first) - 1n;
      if (reached < BigInt(version)) return false;
      left = row!;
    }
    const [row] = await query<{ waiting: boolean }>(
      postgres,
      'looking what capture has left to do',
      // Where the new system is authoritative, documents of the old one are not read again before the way back.
      `select exists (select 1 from migration_control.redo where since > '-infinity' and since <= $1::timestamptz
             and not exists (select 1 from migration_control.collections c
               join migration_control.routing r on r.collection = c.mapping and r.write_mode = 'new_system' where c.id = redo.collection_id))
           or exists (select 1 from migration_control.stale_files where ${mark} = any($2)) as waiting`,
      [left.at, left.files],
    );
    return !row!.waiting;
  };
}

/**
 * The same, and rows that came before the one they name have been given it: they are looked for here, because nobody may come to it in time. Whoever
 * looks after the targets may just have died, or the new system is about to be authoritative, and then no document of the old one is read again.
 */
export function comingTogether(
  resources: Pick<Resources, 'postgres' | 'mappings'>,
  version: string,
): () => Promise<boolean> {
  const first = catchingUp(resources, version);
  let second: (() => Promise<boolean>) | undefined;
  return async () => {
    if (!second) {
      if (!(await first())) return false;
      await findReferences(resources.postgres, parentsOf(resources, await feedsOf(resources)));
      second = catchingUp(resources, version);
    }
    return second();
  };
}
