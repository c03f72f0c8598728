// The words a mapping may use for configuration files: one JSON file per category, rendered from a table of the same mapping.
import type { Target } from '../store.ts';

/** `<directory>/<category>.json`, each an object of key -> value, written from the rows of `table`; secrets are redacted. */
export interface FilesTarget extends Target {
  readonly store: 'files';
  readonly table: string;
  readonly category: string;
  readonly key: string;
  readonly value: string;
}

export const files = (name: string, options: Omit<FilesTarget, 'store' | 'name'>): FilesTarget => ({
  store: 'files',
  name,
  ...options,
});
