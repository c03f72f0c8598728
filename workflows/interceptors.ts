// What every workflow of the tree has in common: a child is started with the name of its migration among its search attributes, where its parent has it, and
// cancelled only once it has started; a step of a migration is begun by it alone; and a signal that a workflow does not know is told.
import { setDefaultSignalHandler, workflowInfo, type WorkflowInterceptors } from '@temporalio/workflow';
import { migrationName } from './lib/attributes.ts';
import { refuseInput } from './lib/inputs.ts';
import { tellUseless } from './lib/notices.ts';
import { startedFirst } from './lib/started-first.ts';

/** By type: what only a migration starts, with what it knows. */
const steps = new Set([
  'preparationPhase',
  'schemaPhase',
  'dataPhase',
  'cutoverPhase',
  'cutoverStage',
  'copyCollection',
  'changeCapture',
  'reverseSync',
]);

export const interceptors = (): WorkflowInterceptors => ({
  inbound: [
    {
      execute(input, next) {
        const { workflowType, parent, continuedFromExecutionRunId } = workflowInfo();
        if (steps.has(workflowType) && !parent && !continuedFromExecutionRunId)
          return Promise.reject(
            refuseInput([`${workflowType} is a step of a migration, which starts it: start \`migration\``]),
          );
        const running = next(input);
        // The workflow has set its own handlers by now, and what waits for them is with them. The root has one of its own.
        if (workflowType !== 'migration')
          setDefaultSignalHandler((name) => tellUseless(name.slice(0, 100), unknown(workflowType)));
        return running;
      },
    },
  ],
  outbound: [
    {
      startChildWorkflowExecution(input, next) {
        const name = workflowInfo().typedSearchAttributes.get(migrationName);
        const named = name === undefined ? {} : { typedSearchAttributes: [{ key: migrationName, value: name }] };
        return startedFirst(() => next({ ...input, options: { ...input.options, ...named } }));
      },
    },
  ],
});

const unknown = (type: string): string => `${type} knows no such signal; orders go to the migration's own workflow.`;
