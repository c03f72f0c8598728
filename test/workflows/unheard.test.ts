// Orders to a migration for which no worker is alive: each command ends at once and says so. What stops or takes back is left as a signal, once; what leads
// on is not kept for a moment when nobody looks.
import { Client, Connection } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test, vi } from 'vitest';
import { commandsFor } from '../../cli/commands/index.ts';
import { queueOf } from '../../core/owner.ts';
import { rootId } from '../../workflows/contract.ts';

let connection: Connection;
let client: Client;
let name: string;
let number = 0;

beforeAll(async () => {
  const { address } = inject('workflows');
  vi.stubEnv('TEMPORAL_ADDRESS', address);
  connection = await Connection.connect({ address });
  client = new Client({ connection });
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await connection.close();
});
beforeEach(async () => {
  name = `unheard-${process.pid}-${number++}`;
  await client.workflow.start('migration', {
    workflowId: rootId(name),
    taskQueue: queueOf({ migration: name, stores: '0123456789ab' }),
    args: [{ name, settings: {}, until: 'data' }],
  });
});
afterEach(async () => {
  process.exitCode = undefined;
  await client.workflow.getHandle(rootId(name)).terminate('test');
});

interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly code?: typeof process.exitCode;
  readonly thrown?: Error;
  readonly ms: number;
}

/** Runs the command in this process. */
async function causeway(...args: string[]): Promise<Ran> {
  const said = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      said[stream] += String(text);
      return true;
    }),
  );
  const began = performance.now();
  try {
    const [command] = await commandsFor(args[0]);
    await command!.parseAsync([...args.slice(1), '--migration', name], { from: 'user' });
    return { ...said, code: process.exitCode, ms: performance.now() - began };
  } catch (error) {
    return { ...said, thrown: error as Error, ms: performance.now() - began };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

async function left(): Promise<(string | null | undefined)[]> {
  const { events } = await client.workflow.getHandle(rootId(name)).fetchHistory();
  return (events ?? []).flatMap((event) => event.workflowExecutionSignaledEventAttributes?.signalName ?? []);
}

test.each([
  [['pause'], 'pause'],
  [['resume'], 'resume'],
  [['retry'], 'retry'],
  [['incident', 'data_corruption'], 'reportIncident'],
  [['cutover', 'set', '0'], 'setCutoverPercentage'],
  [['abort', '--reason', 'test'], 'abort'],
  [['rollback', '--reason', 'test'], 'rollback'],
])('%j is left for the next worker', async (args, signal) => {
  const { stdout, code, ms } = await causeway(...args);
  expect(stdout).toMatch(/No worker answers.*stays with Temporal.*causeway worker --migration unheard/);
  expect(code).toBe(3);
  expect(ms).toBeLessThan(5000);
  expect(await left()).toEqual([signal]);
});

test.each([
  [['approve', 'phase_4_writes'], 'causeway approve phase_4_writes'],
  [['cutover', 'advance'], 'causeway cutover advance'],
  [['cutover', 'set', '10'], 'causeway cutover set 10'],
])('%j is not given', async (args, command) => {
  const { thrown, ms } = await causeway(...args);
  expect(thrown).toMatchObject({ name: 'UnreachableError' });
  expect(thrown?.message).toMatch(/nothing was ordered.*causeway worker --migration unheard.*again/);
  expect(thrown?.message).toContain(command);
  expect(ms).toBeLessThan(5000);
  expect(await left()).toEqual([]);
});

test.each([[['pause']], [['abort', '--reason', 'test']]])('%j says so as JSON', async (args) => {
  const { stdout, stderr } = await causeway(...args, '--json');
  expect(JSON.parse(stdout)).toEqual({ migration: name, order: args[0], answered: false, left: true });
  expect(stderr).toContain('No worker answers');
});
