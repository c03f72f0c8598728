// The phases' workflows, total by type: a phase without one does not compile.
import { executeChild, workflowInfo } from '@temporalio/workflow';
import type { MigrationState } from '../../core/state.ts';
import type { Phase } from '../../core/story.ts';
import type { MigrationInput } from '../contract.ts';
import { preparationPhase } from './1-preparation.ts';
import { schemaPhase } from './2-schema.ts';
import { dataPhase } from './3-data.ts';
import { cutoverPhase } from './4-cutover.ts';
import { alone } from '../lib/alone.ts';
import { standingOf } from '../lib/standing.ts';

type Run = (state: MigrationState, input: MigrationInput, workflowId: string) => Promise<void>;

const run: Record<Phase, Run> = {
  async preparation(state, input, workflowId) {
    const { documents, estimate } = await executeChild(preparationPhase, {
      workflowId,
      args: [input, standingOf(state, input)],
      staticSummary: 'phase 1: preparation',
    });
    state.estimate = estimate;
    for (const [collection, source] of Object.entries(documents)) {
      state.collections[collection] ??= {
        source,
        loaded: 0,
        quarantined: 0,
        skipped: 0,
        chunksDone: 0,
        chunksTotal: 0,
      };
    }
  },
  schema: (_state, input, workflowId) =>
    executeChild(schemaPhase, { workflowId, args: [input], staticSummary: 'phase 2: schema' }),
  data: (_state, input, workflowId) =>
    executeChild(dataPhase, { workflowId, args: [input], staticSummary: 'phase 3: data' }),
  cutover: (state, input, workflowId) =>
    executeChild(cutoverPhase, {
      workflowId,
      args: [input, Object.keys(state.collections), { stage: state.stage, keepRouting: state.override }],
      staticSummary: 'phase 4: cutover',
    }),
};

export function runPhase(phase: Phase, state: MigrationState, input: MigrationInput): Promise<void> {
  const workflowId = `${workflowInfo().workflowId}/${phase}`;
  return alone(workflowId, () => run[phase](state, input, workflowId));
}
