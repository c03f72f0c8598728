// The rules of the cutover's stages: what keeps a gate shut, and where traffic goes when a stage is left.
import { describe, expect, test } from 'vitest';
import type { standingBefore } from '../../core/cutover.ts';
import { heldByOperator, retreatFrom, shutGates, type GateFacts } from '../../core/cutover.ts';
import { readSettings } from '../../core/settings.ts';

const { settings } = readSettings({}) as { settings: { stages: Parameters<typeof standingBefore>[0] } };
const good: GateFacts = {
  lagMs: 100,
  gap: null,
  validation: { users: 'passed' },
  quarantine: { users: 0.1 },
  reverse: null,
};
const limits = { lagMs: 5000, quarantineShare: 0.2, collections: ['users'] };

test('the defaults are the strategy: 10, 50, 90 % of reads for a week each, then the writes', () => {
  expect(settings.stages.map((stage) => [stage.name, stage.percentage, stage.writes, stage.soakSeconds])).toEqual([
    ['phase_1_reads', 10, 'dual_write', 604800],
    ['phase_2_reads', 50, 'dual_write', 604800],
    ['phase_3_reads', 90, 'dual_write', 604800],
    ['phase_4_writes', 100, 'new_system', 604800],
  ]);
});

describe('gates', () => {
  test('all open', () => expect(shutGates(good, limits)).toEqual([]));
  test.each<[string, Partial<GateFacts>, RegExp]>([
    ['a gap', { gap: 'the oplog rolled over' }, /gap/],
    ['capture is behind', { lagMs: 5001 }, /5001 ms behind/],
    ['capture was never opened', { lagMs: null }, /not been opened/],
    ['no validation', { validation: {} }, /is missing/],
    ['a failed validation', { validation: { users: 'failed' } }, /ended failed/],
    ['quarantine over its budget', { quarantine: { users: 0.21 } }, /21.0 %/],
    ['the way back is behind', { reverse: { waiting: 7, lagMs: 6000 } }, /way back/],
  ])('%s keeps one shut, and says so', (_, facts, sentence) => {
    const shut = shutGates({ ...good, ...facts }, limits);
    expect(shut).toHaveLength(1);
    expect(shut[0]).toMatch(sentence);
  });
  test('exactly at the limits they are open', () => {
    expect(shutGates({ ...good, lagMs: 5000, quarantine: { users: 0.2 } }, limits)).toEqual([]);
  });
});

describe('where a stage that is left goes', () => {
  test('one stage back, or to where it was before the first', () => {
    expect(retreatFrom(settings.stages, 3, 'expedited')).toEqual({
      stage: 3,
      standing: { percentage: 90, writes: 'dual_write' },
    });
    expect(retreatFrom(settings.stages, 0, 'planned')).toEqual({
      stage: 0,
      standing: { percentage: 0, writes: 'dual_write' },
    });
  });
  test('in an emergency all the way', () => {
    expect(retreatFrom(settings.stages, 3, 'immediate').standing).toEqual({ percentage: 0, writes: 'dual_write' });
  });
});

describe('an operator', () => {
  const stage = { name: 'phase_2_reads', percentage: 50 };
  const route = (percentage: number) => ({ percentage, writeMode: 'dual_write' as const, epoch: 3 });
  const routes = { users: route(50), sessions: route(20), quotes: route(80) };

  test('who has sent a collection fewer reads holds the stage, and is told how to end that', () => {
    expect(heldByOperator(stage, routes, ['users', 'sessions'])).toBe(
      'fewer reads go to the new system than its 50 % (sessions 20 %). `causeway cutover set 50` sends them there, `causeway cutover advance` goes on as it is',
    );
    expect(heldByOperator(stage, {}, ['users'])).toContain('users 0 %');
    expect(heldByOperator(stage, null, ['users'])).toBe('where the reads go cannot be read now');
  });
  test('who has sent it as many or more, or another collection fewer, does not', () => {
    expect(heldByOperator(stage, routes, ['users', 'quotes'])).toBeNull();
  });
});
