// Configuration files: rendered whole from the table's rows, each replaced atomically; secrets are redacted.
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { redact } from '../../core/redact.ts';

/** A category as a file name: other characters than letters, digits, `-` and `_` are replaced, and then a hash keeps two categories apart. */
export function fileName(category: string): string {
  const safe = category.replace(/[^\p{L}\p{N}_-]/gu, '_').slice(0, 80);
  return `${safe === category && safe !== '' ? safe : `${safe}-${createHash('sha256').update(category).digest('hex').slice(0, 8)}`}.json`;
}

/** Writes `{ key: value }`, keys sorted; the same values give the same bytes. */
export async function writeFileAtomically(file: string, values: Record<string, unknown>): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const sorted = Object.fromEntries(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)));
  const part = `${file}.${randomUUID()}.part`;
  const handle = await open(part, 'w', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify(redact(sorted), null, 2)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(part, file);
}
