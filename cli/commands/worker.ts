// causeway worker: does the work. Several may run, on one host or many.
import { Command } from 'commander';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { lineOf } from '../../workers/log.ts';
import { startWorker } from '../../workers/worker.ts';
import { checkName, home, readAddresses } from '../connect.ts';

/** That a queue of activities has no workflows, and the other way round, is as it should be, and the SDK warns of it for every queue. */
function loggerAt(level: 'INFO' | 'WARN'): DefaultLogger {
  return new DefaultLogger(level, (entry) => {
    if (!/^No (workflows|activities) registered/.test(entry.message)) process.stderr.write(`${lineOf(entry)}\n`);
  });
}

export function worker(): Command {
  return new Command('worker')
    .description('run a worker: it carries out workflows and activities until it is stopped (SIGINT, SIGTERM)')
    .option('--migration <name>', 'the migration that it serves', 'default')
    .option('--verbose', 'log what the worker does, not only warnings')
    .action(async (options: { migration: string; verbose?: boolean }) => {
      const environment = await readAddresses();
      Runtime.install({ logger: loggerAt(options.verbose ? 'INFO' : 'WARN'), shutdownSignals: [] });
      const running = await startWorker(environment, {
        migration: checkName(options.migration),
        home: home(),
        log: (line) => void process.stderr.write(`worker ${process.pid}: ${line}\n`),
      });
      for (const signal of ['SIGINT', 'SIGTERM'] as const) {
        process.once(signal, () => {
          process.stderr.write(`worker ${process.pid}: finishing what it holds, then stopping\n`);
          running.stop();
        });
      }
      await running.stopped;
    });
}
