// causeway stack: the embedded servers.
import { Command } from 'commander';
import { down, environment, freeRoom, reset, status, up } from '../../stack/index.ts';
import { safeAddress } from '../../stores/address.ts';
import { bytes, print, printJson, table } from '../output.ts';

export function stack(): Command {
  const command = new Command('stack').description(
    'the embedded servers: Temporal with its web UI, two MongoDBs, PostgreSQL, Redis',
  );
  command
    .command('up')
    .description('install what is missing and start what is not running; repairs a crashed start')
    .option('--json', 'print the environment as JSON')
    .action(async (options: { json?: boolean }) => {
      const found = await up((message) => process.stderr.write(`  ${message}\n`));
      if (options.json) printJson(found);
      else {
        print(`The stack is up. Web UI: ${found.TEMPORAL_UI_URL}`);
        print('Next: `causeway seed`, `causeway worker` in another terminal, `causeway start`.');
      }
    });
  command
    .command('down')
    .description('stop what this stack started; data stays')
    .option('--json', 'print the names of what was stopped as JSON')
    .action(async (options: { json?: boolean }) => {
      const stopped = await down();
      if (options.json) printJson({ stopped });
      else print(stopped.length === 0 ? 'Nothing was running.' : `Stopped ${stopped.join(', ')}.`);
    });
  command
    .command('status')
    .description(
      'which servers run, where, and what they take on the disk; --json prints the environment variables as keys',
    )
    .option('--json', 'print the environment as JSON')
    .action(async (options: { json?: boolean }) => {
      if (options.json) return printJson(await environment());
      const services = await status();
      print(
        table(
          ['service', 'state', 'address', 'pid', 'on disk'],
          services.map((one) => [
            one.name,
            one.state,
            // Temporal's is no URL, and holds no password.
            one.name === 'temporal' || one.url === '' ? one.url : safeAddress(one.url),
            one.pid === null ? '' : String(one.pid),
            one.bytes === null ? '' : bytes(one.bytes),
          ]),
        ),
      );
      const free = await freeRoom();
      const used = services.reduce((sum, one) => sum + (one.bytes ?? 0), 0);
      if (free !== undefined) print(`\nOn disk: ${bytes(used)}; free: ${bytes(free)}.`);
      const ui = (await environment()).TEMPORAL_UI_URL;
      if (ui && services.some((one) => one.name === 'temporal' && one.state === 'running')) print(`\nWeb UI: ${ui}`);
    });
  command
    .command('env')
    .description('export lines for a shell: eval "$(causeway stack env)"')
    .action(async () => {
      for (const [name, value] of Object.entries(await environment()))
        print(`export ${name}='${value.replaceAll("'", "'\\''")}'`);
    });
  command
    .command('reset')
    .description('stop the stack and remove its data; installed servers stay')
    .option('--yes', 'do not only say what would be removed')
    .action(async (options: { yes?: boolean }) => {
      if (!options.yes) {
        print(
          'This would stop the embedded servers and remove all of their data, spool and configuration files. Add --yes to do it.',
        );
        return;
      }
      await reset();
      print('The stack is stopped and its data removed.');
    });
  return command;
}
