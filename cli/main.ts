// The command line: a table of commands, and one place where errors become exit codes.
import { Command, CommanderError } from 'commander';
import { commandsFor } from './commands/index.ts';
import { explain } from './errors.ts';

export async function main(argv: readonly string[]): Promise<void> {
  // `causeway ... | head`: who reads has seen enough. What the command has done, it has done; there is nobody to tell.
  onLostReader(process.stdout, () => process.exit(process.exitCode ?? 0));
  // A worker goes on without a reader of its log.
  onLostReader(process.stderr, () => undefined);
  const program = new Command('causeway')
    .description(
      'Moves a live MongoDB application onto PostgreSQL/TimescaleDB, an optimised MongoDB schema and Redis,\nas durable Temporal workflows that can be paused, replayed and undone.',
    )
    .showHelpAfterError('Run `causeway --help`, or `causeway COMMAND --help`.')
    .exitOverride()
    .configureHelp({ sortSubcommands: false })
    .addHelpText(
      'after',
      `
First run, with an embedded stack and made-up data:
  causeway demo

First real migration:
  export SOURCE_MONGODB_URL=... TARGET_POSTGRES_URL=... TARGET_MONGODB_URL=... TARGET_REDIS_URL=... TEMPORAL_ADDRESS=...
  causeway assess                       what is there, how long it may take
  causeway worker                       in another terminal; several may run
  causeway start --dry-run              what would be done
  causeway start --until data --wait    copy and validate
  causeway watch                        follow it

Exit codes: 0 done and good; 1 a check failed or the migration did; 2 usage; 3 a service cannot be reached.
Addresses come from the environment: TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, SOURCE_MONGODB_URL, TARGET_POSTGRES_URL,
TARGET_MONGODB_URL, TARGET_REDIS_URL. Those not set come from the embedded stack, if it runs (\`causeway stack up\`).`,
    );
  for (const command of await commandsFor(argv[2])) program.addCommand(inherit(command));
  try {
    await program.parseAsync(argv as string[]);
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else {
      const { message, code } = explain(error);
      process.stderr.write(`causeway: ${message}\n`);
      process.exitCode = code;
      // The worker's connection to a server that says nothing goes on trying, and would keep the process for half a minute.
      if (code === 3) process.exit();
    }
  }
}

function onLostReader(stream: NodeJS.WriteStream, then: () => void): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    then();
  });
}

function inherit(command: Command): Command {
  command.exitOverride().showHelpAfterError();
  for (const inner of command.commands) inherit(inner);
  return command;
}
