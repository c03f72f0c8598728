// causeway watch: the same as status, live, until the migration ends or needs a person.
import { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { isOver } from '../../core/state.ts';
import { readStatus, withTemporal } from '../connect.ts';
import { liveView } from '../follow.ts';
import { print, printJson } from '../output.ts';
import { statusText } from '../status-text.ts';
import { common } from './orders.ts';
import { withLiveCounts, withRoutingNow } from './status.ts';

export const watch = (): Command =>
  common(new Command('watch').description('follow a migration with bars; --json prints a line per second')).action(
    (options: { migration: string; json?: boolean }) =>
      withTemporal(async (session) => {
        const view = options.json ? undefined : liveView();
        const read = async () => withRoutingNow(await withLiveCounts(await readStatus(session, options.migration)));
        let status = await read();
        try {
          for (; !isOver(status.state) && status.state !== 'parked'; status = await read()) {
            if (options.json) print(JSON.stringify(status));
            view?.show(status);
            await sleep(1000);
          }
          view?.show(status);
        } finally {
          view?.close();
        }
        if (options.json) printJson(status);
        else print(statusText(status));
      }),
  );
