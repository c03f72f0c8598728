// Configuration files: rendered whole from the table's rows, each replaced atomically; secrets are redacted.
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { redact } from '../../core/redact.ts';
import { makeFolder, writePrivately } from '../../spool/private.ts';

/** A category as a file name: other characters than letters, digits, `-` and `_` are replaced, and then a hash keeps two categories apart. */
export function fileName(category: string): string {
  const safe = category.replace(/[^\p{L}\p{N}_-]/gu, '_').slice(0, 80);
  return `${safe === category && safe !== '' ? safe : `${safe}-${createHash('sha256').update(category).digest('hex').slice(0, 8)}`}.json`;
}

/** Writes `{ key: value }`, keys sorted; the same values give the same bytes. */
export async function writeFileAtomically(file: string, values: Record<string, unknown>): Promise<void> {
  await makeFolder(dirname(file));
  const sorted = Object.fromEntries(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)));
  await writePrivately(file, `${JSON.stringify(redact(sorted), null, 2)}\n`);
}
