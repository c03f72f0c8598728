// Histories that begin anew: on a server that asks for it after 60 events, whatever lasts goes on as it stood.
import { expect, test } from 'vitest';
import { stubQueues } from '../support/stub-activities.ts';
import { withWorkflows } from '../support/workflow-env.ts';

test('a copy of many segments: none is loaded twice, none is left out, unique keys are settled once', async () => {
  const segments = 30;
  const loaded: number[] = [];
  await withWorkflows(
    {
      renewing: true,
      stubs: {
        planCollections: () => [
          {
            collection: 'token_usage',
            class: 'historical',
            after: [],
            sources: ['token_usage'],
            outside: [],
            documents: 300,
          },
        ],
        planChunks: (_collection, [source]) => ({
          chunks: [
            {
              source: source!,
              collectionId: 1,
              chunk: 0,
              upTo: null,
              after: loaded.length === 0 ? null : `${loaded.length}`,
              segment: loaded.length,
              done: loaded.length === segments,
              averageBytes: 100,
            },
          ],
          before: { documents: loaded.length * 10, loaded: loaded.length * 9, quarantined: loaded.length, skipped: 0 },
          documents: segments * 10,
        }),
        extractSegment: ({ segment, after }) => ({
          reference: { path: `segment-${segment}`, documents: 10, bytes: 1000 },
          after,
          lastId: `${segment + 1}`,
          endsChunk: segment === segments - 1,
          version: '1',
          queues: stubQueues,
        }),
        loadRows: ({ segment }) => {
          loaded.push(segment);
          return { repeated: false, stale: 0 };
        },
      },
    },
    async (run) => {
      await run.start({ at: 'data', until: 'data' });
      const outcome = (await run.handle().result()) as {
        state: string;
        collections: Record<string, { loaded: number }>;
      };
      expect(outcome.state).toBe('completed');
      expect(outcome.collections['token_usage']!.loaded).toBe(segments * 9);
      // Two segments of a chunk may be on their way at once.
      expect(loaded.sort((a, b) => a - b)).toEqual(Array.from({ length: segments }, (_, n) => n));
      expect(run.callsOf('electUnique')).toHaveLength(1);
      expect(await run.runsOf('copy/token_usage')).toBeGreaterThan(2);
    },
  );
});

test('a stage that holds for an operator: moved once, still held, stopped by a pause, and ended by an order', async () => {
  const stages = [{ name: 'reads', percentage: 50, soakSeconds: 2 }];
  await withWorkflows({ renewing: true }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages } });
    await run.until((status) => status.routing['token_usage']?.percentage === 50);
    await run.order('setCutoverPercentage', { percentage: 20, collection: 'sessions' });
    const { waitingFor } = await run.until((status) => status.waitingFor?.includes('fewer reads') === true);
    await expect.poll(() => run.runsOf('cutover/reads'), { timeout: 60_000, interval: 500 }).toBeGreaterThan(2);
    expect((await run.status()).waitingFor).toBe(waitingFor);
    expect(run.callsOf('route').filter(([order]) => (order as { reason: string }).reason === 'reads')).toHaveLength(1);
    await run.order('pause');
    await run.order('resume');
    await run.until((status) => status.waitingFor?.includes('fewer reads') === true);
    expect((await run.status()).routing['sessions']!.percentage).toBe(20);
    await run.order('advanceStage');
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('the root: after a pause, with what it knew; orders given meanwhile are obeyed once', async () => {
  await withWorkflows({ renewing: true }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [{ name: 'reads', percentage: 50, soakSeconds: 3600 }] } });
    await run.until((status) => status.routing['token_usage']?.percentage === 50);
    for (let n = 1; n <= 12; n++) await run.order('setCutoverPercentage', { percentage: n });
    await run.order('pause');
    await run.order('resume');
    await expect.poll(() => run.runsOf(), { timeout: 60_000, interval: 300 }).toBe(2);
    const { routing, checkpoints } = await run.status();
    expect(routing['token_usage']!.percentage).toBe(12);
    expect(checkpoints.map((one) => one.name)).toEqual(['preparation', 'schema', 'data']);
    expect(run.callsOf('route').filter(([order]) => (order as { reason: string }).reason === 'operator')).toHaveLength(
      12,
    );
    await expect.poll(() => run.callsOf('watchStage').length, { timeout: 60_000 }).toBeGreaterThan(1);
    await run.order('advanceStage');
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('change capture: its lanes go on, and it still ends when it is told to', async () => {
  await withWorkflows(
    {
      renewing: true,
      uncached: true,
      stubs: { applyLane: () => ({ ended: 'slice' }), tendTargets: () => ({ ended: 'slice' }) },
    },
    async (run) => {
      await run.start({ at: 'data', until: 'data' });
      expect(await run.handle().result()).toMatchObject({ state: 'completed' });
      await expect.poll(() => run.runsOf('capture'), { timeout: 60_000, interval: 300 }).toBeGreaterThan(2);
      await run.handle('capture').signal('stopCapture');
      await run.handle('capture').result();
    },
  );
});
