// Commands that wait for what goes on without them: Ctrl-C ends the command alone, and says so.

/** `left`: what goes on, and how to look at it. Exit code 130, as a shell has it for Ctrl-C. */
export async function waiting<T>(left: string, work: () => Promise<T>): Promise<T> {
  const stop = () => {
    // A bar hides the cursor.
    if (process.stderr.isTTY) process.stderr.write('\u001b[?25h');
    process.stderr.write(`\n${left}\n`);
    process.exit(130);
  };
  process.on('SIGINT', stop);
  try {
    return await work();
  } finally {
    process.off('SIGINT', stop);
  }
}

export const named = (migration: string): string => (migration === 'default' ? '' : ` --migration ${migration}`);

export const migrationGoesOn = (migration: string): string =>
  `The migration ${migration} goes on; only this command has ended. \`causeway status${named(migration)}\` says where it stands, \`causeway watch${named(migration)}\` follows it, \`causeway pause${named(migration)}\` stops it at the next safe place.`;

/** Of a workflow beside the migration's own. */
export const workflowGoesOn = (what: string, workflowId: string, then: string): string =>
  `The ${what} goes on; only this command has ended. It is the workflow ${workflowId} in Temporal's web UI; ${then}`;
