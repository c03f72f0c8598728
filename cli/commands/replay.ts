// causeway replay: runs a recorded history against the workflow code of this checkout, as a debugger would.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { Command } from 'commander';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { workflowBundle } from '../../workers/bundle.ts';
import { home, withTemporal } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { print, printJson } from '../output.ts';

export const replay = (): Command =>
  new Command('replay')
    .description(
      'replay a workflow, by id or from a file saved with `temporal workflow show --output json`, against this code',
    )
    .argument('<workflow>', 'workflow id such as migration/default, or a history file')
    .option('--run <id>', 'run id, where a workflow has several')
    .option('--json', 'print the result as JSON')
    .action(async (target: string, options: { run?: string; json?: boolean }) => {
      Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] });
      const workflowBundlePath = await workflowBundle(join(home(), 'bundle'));
      const { history, workflowId } = existsSync(target)
        ? await fromFile(target)
        : await fromServer(target, options.run);
      try {
        await Worker.runReplayHistory({ workflowBundle: { codePath: workflowBundlePath } }, history, workflowId);
        if (options.json) printJson({ workflowId, replays: true });
        else print(`${workflowId}: replays with this code.`);
      } catch (error) {
        process.exitCode = 1;
        const why =
          (error as Error).name === 'DeterminismViolationError'
            ? `this code would take another way than the history: ${(error as Error).message}`
            : (error as Error).message;
        if (options.json) printJson({ workflowId, replays: false, why });
        else
          print(
            `${workflowId}: does not replay: ${why}\nA change that old histories do not follow needs a version: see docs/runbook.md, "Changing workflow code".`,
          );
      }
    });

async function fromFile(file: string) {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'));
  } catch {
    throw new UsageError(
      `${file} holds no JSON history; save one with \`temporal workflow show --workflow-id ID --output json\`.`,
    );
  }
  const events = (parsed as { events?: { workflowExecutionStartedEventAttributes?: { workflowId?: string } }[] })
    .events;
  if (!Array.isArray(events)) throw new UsageError(`${file} is no workflow history: it has no events.`);
  return {
    history: historyFromJSON(parsed),
    workflowId: events[0]?.workflowExecutionStartedEventAttributes?.workflowId ?? basename(file, '.json'),
  };
}

const fromServer = (workflowId: string, runId: string | undefined) =>
  withTemporal(async ({ client }) => ({
    history: await client.workflow.getHandle(workflowId, runId).fetchHistory(),
    workflowId,
  }));
