// An order to a migration that runs. Its workflow answers; where no worker does, what stops or takes back is left for the next one, and what leads on is not.
import { answerBy, answerTo, handleOf, patientMs, type MigrationHandle, type TemporalSession } from './connect.ts';
import { UnreachableError } from './errors.ts';
import { print, printJson } from './output.ts';
import { isRootServed } from './queue.ts';
import { named } from './waiting.ts';
import { statusQuery } from '../workflows/contract.ts';

export interface Order<T> {
  /** As it stands on the command line. */
  readonly name: string;
  readonly ask: (handle: MigrationHandle) => Promise<T>;
  /** The same as a signal, where it may be obeyed at a moment when nobody looks on. */
  readonly leave?: (handle: MigrationHandle) => Promise<void>;
}

interface Given {
  readonly migration: string;
  readonly json?: boolean;
}

const sayAfterMs = 3000;

/** The answer. undefined: nobody answers, and the order was left for who does. Throws UnreachableError where it is not kept. */
export async function give<T>(session: TemporalSession, given: Given, order: Order<T>): Promise<T | undefined> {
  const handle = handleOf(session, given.migration);
  // Asked first, and ordered only then: what is both asked and left would be obeyed twice.
  if (await isHeard(session, handle)) return answerTo(() => order.ask(handle));
  const start = `start \`causeway worker${named(given.migration)}\``;
  if (!order.leave)
    throw new UnreachableError(
      `No worker answers for the migration now, and nothing was ordered: \`causeway ${order.name}\` leads on, and is not kept for a moment when nobody looks. Do ${start}, then give the order again.`,
    );
  await order.leave(handle);
  tellLeft(given, order.name);
  return undefined;
}

/** An update that nobody has taken may be lost with the server; a signal is kept, and outlasts the command that left it. */
export function tellLeft({ migration, json }: Given, name: string): void {
  const sentence = `No worker answers for the migration now. The order stays with Temporal and is obeyed as soon as one does: start \`causeway worker${named(migration)}\`.`;
  process.exitCode = 3;
  if (!json) return print(sentence);
  process.stderr.write(`${sentence}\n`);
  printJson({ migration, order: name, answered: false, left: true });
}

async function isHeard(session: TemporalSession, handle: MigrationHandle): Promise<boolean> {
  if (!(await isRootServed(session, handle))) return false;
  const timer = setTimeout(
    () => process.stderr.write(`No worker has answered yet; one is waited for, ${patientMs / 1000} s in all.\n`),
    sayAfterMs,
  );
  try {
    return (await answerBy(session, Date.now() + patientMs, () => handle.query(statusQuery))) !== undefined;
  } finally {
    clearTimeout(timer);
  }
}
