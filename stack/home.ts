// Where the embedded stack keeps things: state and data in its home, installed servers in a folder that several homes may share.
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const checkout = fileURLToPath(new URL('../', import.meta.url));

export interface Home {
  readonly folder: string;
  readonly data: string;
  readonly logs: string;
  readonly state: string;
  readonly tools: string;
}

/** `CAUSEWAY_HOME` or `.causeway` of the checkout; `CAUSEWAY_TOOLS` or `.causeway/tools` of the checkout. */
export function homeOf(values: Record<string, string | undefined> = process.env): Home {
  const folder = resolve(values['CAUSEWAY_HOME'] ?? join(checkout, '.causeway'));
  const tools = resolve(values['CAUSEWAY_TOOLS'] ?? join(checkout, '.causeway', 'tools'));
  return { folder, data: join(folder, 'data'), logs: join(folder, 'logs'), state: join(folder, 'stack.json'), tools };
}

/** What a person reads when the stack cannot do what was asked: a whole sentence with what to do. */
export class StackError extends Error {
  override readonly name = 'StackError';
}
