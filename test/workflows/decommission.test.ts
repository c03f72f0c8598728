// The end of the old system as a workflow: where nothing came of it, the way back goes on as it was.
import { expect, test } from 'vitest';
import { KnownFailure } from '../../core/failures.ts';
import { readSettings, type Settings } from '../../core/settings.ts';
import { withWorkflows } from '../support/workflow-env.ts';

const read = readSettings({ zone: 'America/Sao_Paulo', providers: ['acme'] }) as { settings: Settings };

test('a snapshot that fails leaves the way back running, with the settings of the migration', async () => {
  await withWorkflows(
    {
      stubs: {
        startedWith: () => ({ settings: read.settings, collections: ['token_usage'] }),
        writesStand: () => ({ collections: ['token_usage'], moved: ['token_usage'] }),
        saveOld: () => {
          throw new KnownFailure('ConfigurationInvalid', 'somebody still writes there');
        },
      },
    },
    async (run) => {
      const ended = run.client.workflow.execute('decommission', {
        workflowId: `migration/${run.name}/decommission`,
        taskQueue: run.queue,
        args: [{ confirm: true }],
      });
      await expect(ended).rejects.toMatchObject({
        cause: { message: expect.stringContaining('still writes') as string },
      });
      expect(run.callsOf('armReverse')).toEqual([[{ zone: 'America/Sao_Paulo', providers: ['acme'] }]]);
      await run.start({ until: 'preparation' });
      await run.handle().result();
    },
  );
});
