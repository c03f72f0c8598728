// What stands on a workflow's page in Temporal's web UI: it says what is so now, and no order vanishes without a word.
import { expect, test, vi } from 'vitest';
import { KnownFailure } from '../../core/failures.ts';
import { withWorkflows, type WorkflowTest } from '../support/workflow-env.ts';

const week = 7 * 24 * 3600;
const stages = [
  { name: 'first', percentage: 10, soakSeconds: week },
  { name: 'second', percentage: 90, soakSeconds: week, approve: true },
  { name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 0, approve: true },
];

/** As the web UI asks for it. */
const pageOf = async (run: WorkflowTest, place?: string): Promise<string> =>
  (await run.handle(place).query<{ currentDetails?: string }>('__temporal_workflow_metadata')).currentDetails ?? '';
const attribute = async (run: WorkflowTest, name: string) =>
  (await run.handle().describe()).searchAttributes[name]?.[0];
const until = <T>(what: () => Promise<T>, check: (found: T) => void): Promise<void> =>
  vi.waitFor(async () => check(await what()), { timeout: 30_000, interval: 100 });

test('the root tells where the traffic is and what is waited for, after a failure too, and nothing of what has passed', async () => {
  let busy = true;
  const stubs = {
    planCollections: () => [],
    openCapture: () => {
      if (busy) throw new KnownFailure('AuthenticationFailed', 'The routes are held.');
      return { lanes: 1, images: 'post-images', openedAt: '1.1' } as never;
    },
  };
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages }, attributes: true });
    await run.parked();
    expect(await pageOf(run)).toContain('The routes are held.');
    busy = false;
    await run.order('retry');
    await run.until((status) => status.routing['token_usage']?.percentage === 10);
    await until(
      () => pageOf(run),
      (page) => {
        expect(page).toContain('Reads on the new system: **10 %**');
        expect(page).not.toMatch(/failed|The routes are held/);
      },
    );
    await run.order('advanceStage');
    await until(
      () => pageOf(run),
      (page) => expect(page).toContain('Waits for: `approve {"gate": "second"}`'),
    );
    await run.order('approve', { gate: 'second' });
    await until(
      () => attribute(run, 'CutoverPercentage'),
      (percentage) => expect(percentage).toBe(90),
    );
    await run.order('setCutoverPercentage', { percentage: 25, collection: 'sessions' });
    expect(await pageOf(run)).toContain('**25 %** (token_usage 90 %)');
    await run.order('setCutoverPercentage', { percentage: 90 });
    await run.order('advanceStage');
    await until(
      () => pageOf(run),
      (page) => {
        expect(page).toContain('Waits for: `approve {"gate": "writes"}`');
        expect(page).toContain('**90 %**; writes: **dual_write**');
        expect(page).not.toContain('failed');
      },
    );
    await run.order('rollback', { to: 'old' });
    await run.parked();
    expect(await pageOf(run)).not.toContain('90 %');
    expect(await attribute(run, 'CutoverPercentage')).toBe(0);
    expect(await pageOf(run, 'rollback')).toContain('Undone: cutover');
  });
});

test('a signal that no workflow knows, or that has no effect now, is told in `status` and on the page', async () => {
  await withWorkflows({}, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: stages.slice(1) } });
    await run.until((status) => status.waitingFor === 'approve {"gate": "second"}');
    const told = async (order: string, reason: RegExp) => {
      const { refused } = await run.until((status) => status.refused.some((one) => one.order.startsWith(order)));
      expect(refused.find((one) => one.order.startsWith(order))!.reason).toMatch(reason);
      expect(await pageOf(run)).toContain(`\`${order}`);
    };
    await run.signal('goFaster', { now: true });
    await told('goFaster', /no such order.*advanceStage/);
    await run.signal('advanceStage');
    await told('advanceStage', /No stage is soaking; the migration waits for approve/);
    await run.signal('resume');
    await told('resume', /Nothing is paused/);
    await run.handle('cutover/second').signal('advance');
    await told('advance to migration/', /knows no such signal/);
    await run.handle('cutover/second').signal('approve', { gate: 'third' });
    await told('approve to migration/', /nothing waits for "third"/);
    await expect(run.order('goFaster')).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/no update goFaster|goFaster/) as string },
    });
    await run.order('approve', { gate: 'second' });
    await run.until((status) => status.routing['token_usage']?.percentage === 90);
    await run.signal('pause');
    await run.until((status) => status.state === 'paused');
    await run.signal('pause');
    await told('pause', /paused already/);
    await run.signal('advanceStage');
    await run.until((status) => status.refused.filter((one) => one.order === 'advanceStage').length === 2);
    expect((await run.status()).state).toBe('paused');
  });
});
