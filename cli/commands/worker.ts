// causeway worker: does the work. Several may run, on one host or many.
import { Command } from 'commander';
import { DefaultLogger, makeTelemetryFilterString, Runtime } from '@temporalio/worker';
import { lineOf } from '../../workers/log.ts';
import { startWorker } from '../../workers/worker.ts';
import { checkName, home, readAddresses } from '../connect.ts';

/**
 * As it should be, and the SDK warns of it: that a queue of activities has no workflows, and the other way round; that an activity ends after its
 * workflow, which did not wait for it.
 */
const expected = /^(No (workflows|activities) registered|Activity not found on completion)/;

function loggerAt(level: 'INFO' | 'WARN'): DefaultLogger {
  return new DefaultLogger(level, (entry) => {
    if (!expected.test(entry.message)) process.stderr.write(`${lineOf(entry)}\n`);
  });
}

export function worker(): Command {
  return new Command('worker')
    .description('run a worker: it carries out workflows and activities until it is stopped (SIGINT, SIGTERM)')
    .option('--migration <name>', 'the migration that it serves', 'default')
    .option('--verbose', 'log what the worker does, not only warnings')
    .action(async (options: { migration: string; verbose?: boolean }) => {
      const environment = await readAddresses();
      const level = options.verbose ? 'INFO' : 'WARN';
      // What the SDK's core says comes by the same way, in the same form.
      const filter = makeTelemetryFilterString({ core: level, other: 'ERROR' });
      const telemetryOptions = { logging: { filter, forward: {} } };
      Runtime.install({ logger: loggerAt(level), telemetryOptions, shutdownSignals: [] });
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
