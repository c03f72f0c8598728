// Whoever asks a migration for which no worker is alive is told so, in whatever way the server has found out.
import { expect, test } from 'vitest';
import { answerBy, untilTaken, type TemporalSession } from '../../cli/connect.ts';
import { failures } from '../../core/failures.ts';
import { refusalOfAbort, statusUnanswered, wayBackOfEnded } from '../../core/ended.ts';
import { nothingKnown } from '../../core/lifecycle.ts';
import { inCutover } from '../support/standing.ts';

const session = { client: { withDeadline: (_: number, ask: () => unknown) => ask() } } as unknown as TemporalSession;
const failing = (code: number, details: string) => () =>
  Promise.reject(
    new Error('Failed to query Workflow', { cause: Object.assign(new Error(details), { code, details }) }),
  );

test('no answer in time, a call that was cancelled for it, no worker seen for twenty seconds: nobody answers', async () => {
  const answers = [
    failing(4, 'deadline exceeded'),
    failing(1, 'cancelled'),
    failing(9, 'no poller seen for task queue recently, worker may be down'),
  ];
  for (const ask of answers) expect(await answerBy(session, 0, ask)).toBeUndefined();
  await expect(answerBy(session, 0, failing(5, 'workflow not found'))).rejects.toThrow('Failed to query');
});

test('an order whose task failed before it was taken is given again, and for nothing else', async () => {
  const letGo = failing(9, 'Unable to perform workflow execution update due to unexpected workflow task failure.');
  let asked = 0;
  const order = () => (++asked < 3 ? letGo() : Promise.resolve('taken'));
  expect(await untilTaken(order)).toBe('taken');
  expect(asked).toBe(3);
  asked = 0;
  const counted = (ask: () => Promise<never>) => () => (asked++, ask());
  await expect(untilTaken(counted(letGo))).rejects.toThrow('Failed to query');
  expect(asked).toBe(6);
  asked = 0;
  await expect(untilTaken(counted(failing(5, 'workflow not found')))).rejects.toThrow('Failed to query');
  expect(asked).toBe(1);
});

test('of one that nobody answers for the database tells where it stood, and what it waits for', () => {
  const known = { ...nothingKnown, standing: inCutover };
  expect(statusUnanswered('it', known, inCutover)).toMatchObject({
    phase: 'cutover',
    state: 'running',
    waitingFor: expect.stringContaining('worker') as string,
  });
  expect(
    statusUnanswered('it', { ...known, parked: 'ValidationFailed: Validation failed: users.' }, inCutover),
  ).toMatchObject({
    state: 'parked',
    lastError: {
      type: 'ValidationFailed',
      message: 'Validation failed: users.',
      advice: failures.ValidationFailed.advice,
    },
  });
  expect(
    statusUnanswered('it', { ...known, parked: 'PostgreSQL: it does not go.' }, inCutover).lastError,
  ).toMatchObject({
    type: 'CompensationFailed',
    message: 'PostgreSQL: it does not go.',
  });
  const undoing = { ...inCutover, undoing: { steps: inCutover.undo, then: 'aborted' as const } };
  expect(statusUnanswered('it', known, undoing).state).toBe('compensating');
});

test('after the old system was taken out of use nothing leads back, and the command says so itself', () => {
  const known = { ...nothingKnown, standing: { ...inCutover, completed: true }, retired: true };
  for (const to of ['old', 'data', undefined])
    expect(wayBackOfEnded('it', known, to)).toMatchObject({
      is: 'refused',
      message: expect.stringContaining('taken out of use') as string,
    });
  expect(refusalOfAbort('it', known)).toContain('taken out of use');
});
