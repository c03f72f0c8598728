// causeway cutover set, advance: moves reads now; ends a soak now.
import { Command } from 'commander';
import {
  advanceStageUpdate,
  setCutoverPercentageSignal,
  setCutoverPercentageUpdate,
} from '../../workflows/contract.ts';
import { checkName, withTemporal, type MigrationHandle } from '../connect.ts';
import { refuseEnded } from '../ended.ts';
import { UsageError } from '../errors.ts';
import { give } from '../order.ts';
import { print, printJson, table } from '../output.ts';
import { common, plain } from './orders.ts';

export function cutover(): Command {
  const command = new Command('cutover').description('move traffic between the old system and the new');
  common(
    command
      .command('set')
      .description('send this share of reads to the new system; the running stage follows')
      .argument('<percent>', '0 to 100'),
  )
    .option('--collection <name>', 'only this collection')
    .action((percent: string, options: { migration: string; json?: boolean; collection?: string }) =>
      withTemporal(async (session) => {
        const percentage = Number(percent);
        if (!Number.isInteger(percentage) || percentage < 0 || percentage > 100)
          throw new UsageError(`The percentage must be a whole number from 0 to 100, not "${percent}".`);
        const order = { percentage, ...(options.collection !== undefined && { collection: options.collection }) };
        await refuseEnded(session, checkName(options.migration), 'cutover set');
        const takeBack = (handle: MigrationHandle) => handle.signal(setCutoverPercentageSignal, order);
        const routes = await give(session, options, {
          name: `cutover set ${percentage}`,
          ask: (handle) => handle.executeUpdate(setCutoverPercentageUpdate, { args: [order] }),
          ...(percentage === 0 && { leave: takeBack }),
        });
        if (!routes) return;
        if (options.json) return printJson(routes);
        print(
          table(
            ['collection', 'reads on new, %', 'writes', 'epoch'],
            Object.entries(routes).map(([name, its]) => [name, its.percentage, its.writeMode, its.epoch]),
          ),
        );
      }),
    );
  command.addCommand(
    plain(
      'cutover advance',
      'end the soak of the running stage now, also one that holds; what the stage asks at its end is still asked',
      { update: advanceStageUpdate },
      'The soak ends.',
    ),
  );
  return command;
}
