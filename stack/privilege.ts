// PostgreSQL refuses to run as root. Inside a user namespace root is somebody else, and needs no account on the machine for it.
import { chown } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { run } from './command.ts';
import { StackError } from './home.ts';

export interface Unprivileged {
  /** Words to put before the command. */
  readonly prefix: readonly string[];
  readonly ids: { readonly uid?: number; readonly gid?: number };
  /** Makes a folder its own. */
  own(folder: string): Promise<void>;
}

const asItIs: Unprivileged = { prefix: [], ids: {}, own: async () => undefined };
const namespace = ['unshare', '--user', '--map-user=1000', '--map-group=1000'] as const;

export async function unprivileged(): Promise<Unprivileged> {
  if (process.getuid?.() !== 0) return asItIs;
  const [command, ...args] = namespace;
  if ((await run(command, [...args, 'true'])).code === 0) return { ...asItIs, prefix: namespace };
  const account = /^(postgres|nobody):[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'));
  if (!account)
    throw new StackError(
      'PostgreSQL does not run as root, and there is neither a user namespace nor an account `postgres` or `nobody` to run it as. Run causeway as another user, or set TARGET_POSTGRES_URL.',
    );
  const ids = { uid: Number(account[2]), gid: Number(account[3]) };
  return { prefix: [], ids, own: (folder) => chown(folder, ids.uid, ids.gid) };
}
