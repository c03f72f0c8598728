// What every workflow of the tree has in common: a child is started with the name of its migration among its search attributes, where its parent has it.
import { workflowInfo, type WorkflowInterceptors } from '@temporalio/workflow';
import { migrationName } from './lib/attributes.ts';

export const interceptors = (): WorkflowInterceptors => ({
  outbound: [
    {
      startChildWorkflowExecution(input, next) {
        const name = workflowInfo().typedSearchAttributes.get(migrationName);
        if (name === undefined) return next(input);
        const typedSearchAttributes = [{ key: migrationName, value: name }];
        return next({ ...input, options: { ...input.options, typedSearchAttributes } });
      },
    },
  ],
});
