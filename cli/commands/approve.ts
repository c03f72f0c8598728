// causeway approve: opens a gate that the migration waits at.
import { Command } from 'commander';
import { approveUpdate } from '../../workflows/contract.ts';
import { answerTo, checkName, handleOf, withTemporal } from '../connect.ts';
import { refuseEnded } from '../ended.ts';
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
      const status = await answerTo(
        handleOf(session, options.migration).executeUpdate(approveUpdate, {
          args: [{ gate }],
        }),
      );
      if (options.json) printJson(status);
      else print(`Approved ${gate}.`);
    }),
  );
