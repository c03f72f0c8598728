// causeway approve: opens a gate that the migration waits at.
import { Command } from 'commander';
import { approveUpdate } from '../../workflows/contract.ts';
import { checkName, withTemporal } from '../connect.ts';
import { refuseEnded } from '../ended.ts';
import { give } from '../order.ts';
import { print, printJson } from '../output.ts';
import { common } from './orders.ts';

export const approve = (): Command =>
  common(
    new Command('approve')
      .description('open a gate the migration waits at; `causeway status` names it')
      .argument('<gate>', 'name of the gate, such as phase_4_writes'),
  ).action((gate: string, options: { migration: string; json?: boolean }) =>
    withTemporal(async (session) => {
      await refuseEnded(session, checkName(options.migration), 'approve');
      const status = await give(session, options, {
        name: `approve ${gate}`,
        ask: (handle) => handle.executeUpdate(approveUpdate, { args: [{ gate }] }),
      });
      if (!status) return;
      if (options.json) printJson(status);
      else print(`Approved ${gate}.`);
    }),
  );
