// causeway watch: the same as status, live, until the migration ends or needs a person.
import { Command } from 'commander';
import { checkName, readStatus, withTemporal } from '../connect.ts';
import { follow } from '../follow.ts';
import { print } from '../output.ts';
import { migrationGoesOn, waiting } from '../waiting.ts';
import { common } from './orders.ts';
import { withLiveCounts, withRoutingNow } from './status.ts';

export const watch = (): Command =>
  common(new Command('watch').description('follow a migration with bars; --json prints a line per change')).action(
    (options: { migration: string; json?: boolean }) =>
      withTemporal(async (session) => {
        const name = checkName(options.migration);
        let printed = '';
        const each = (line: string) => {
          if (line !== printed) print(line);
          printed = line;
        };
        await waiting(migrationGoesOn(name), () =>
          follow(session, name, {
            json: options.json === true,
            good: () => true,
            read: async () => withRoutingNow(await withLiveCounts(await readStatus(session, name))),
            ...(options.json && { each: (status) => each(JSON.stringify(status)) }),
          }),
        );
      }),
  );
