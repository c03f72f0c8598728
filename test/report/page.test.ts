// What a browser shows of a real migration: its report, whose numbers are the database's and which needs no network; and Temporal's form that starts workflows.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { reportSchema, type Report } from '../../report/shape.ts';
import { openChromium } from '../support/chromium.ts';
import { World } from '../support/world.ts';

let world: World;
let report: Report;
let page: string;
let chromium: Awaited<ReturnType<typeof openChromium>>;

beforeAll(async () => {
  world = await World.open('report');
  await world.seed(2000, 0.05);
  await world.worker();
  const settings = {
    stages: [
      { name: 'reads', percentage: 50, writes: 'dual_write', soakSeconds: 3 },
      { name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 2 },
    ],
    sampleSeconds: 0.5,
    policy: { queryTime: { floorMs: 2000 } },
    quarantineBudget: 0.9,
    configurationDirectory: join(world.home, 'configuration'),
  };
  await writeFile(join(world.home, 'settings.json'), JSON.stringify(settings));
  const before = await world.causeway(['report']);
  expect([before.code, before.stderr]).toEqual([2, expect.stringContaining('nothing to report')]);
  expect((await world.causeway(['start', '--config', join(world.home, 'settings.json')])).code).toBe(0);
  await world
    .until(({ state }) => state === 'completed' || state === 'parked', 150_000)
    .catch(async (error: unknown) => {
      if ((await world.status()).state !== 'completed') throw error;
    });
  chromium = await openChromium();
  const made = await world.causeway(['report']);
  expect([made.code, made.stderr]).toEqual([0, '']);
  page = made.stdout.trim();
  const printed = await world.causeway(['report', '--json']);
  expect(printed.code).toBe(0);
  report = reportSchema.parse(JSON.parse(printed.stdout));
});
afterAll(async () => {
  await chromium?.close();
  await world.close();
});

describe('the figures', () => {
  test('of the collections are those of the ledger and of the batches', async () => {
    const ledger = await world.rows<{ collection: string; state: string; documents: number }>(
      'select collection, state, count(*)::int as documents from migration_control.accounting group by 1, 2',
    );
    const of = (collection: string, state: string) =>
      ledger.find((row) => row.collection === collection && row.state === state)?.documents ?? 0;
    expect(report.collections.length).toBeGreaterThanOrEqual(6);
    for (const { collection, now } of report.collections)
      expect(now).toEqual({
        loaded: of(collection, 'loaded'),
        quarantined: of(collection, 'quarantined'),
        skipped: of(collection, 'skipped'),
      });
    const [copied] = await world.rows<{ documents: number; bytes: number }>(
      'select sum(documents)::float8 as documents, sum(bytes)::float8 as bytes from migration_control.migration_batches',
    );
    expect(report.collections.reduce((all, one) => all + (one.copy?.documents ?? 0), 0)).toBe(copied!.documents);
    expect(report.collections.reduce((all, one) => all + (one.copy?.bytes ?? 0), 0)).toBe(copied!.bytes);
    expect(report.series.copy.reduce((all, one) => all + one.points.at(-1)!.documents, 0)).toBe(copied!.documents);
  });

  test('of accounting, checks, quarantine, samples and the pause are those that were stored', async () => {
    for (const { collection, accounted, source } of report.collections) {
      expect(accounted, collection).not.toBeNull();
      expect(accounted!.loaded + accounted!.quarantined + accounted!.skipped).toBe(accounted!.source);
      expect(source).toBe(accounted!.source);
    }
    expect(report.validation.map((one) => one.status)).toEqual(report.collections.map(() => 'passed'));
    const [errors] = await world.rows<{ open: number }>(
      'select count(*)::int as open from migration_control.migration_errors where resolved_at is null',
    );
    expect(errors!.open).toBeGreaterThan(0);
    expect(report.quarantine.reduce((all, one) => all + one.open, 0)).toBe(errors!.open);
    const audit = await world.rows<{ action: string; entries: number }>(
      'select action, count(*)::int as entries from migration_control.audit_log group by 1',
    );
    const entries = (action: string) => audit.find((one) => one.action === action)?.entries ?? 0;
    expect(entries('sample')).toBeGreaterThan(2);
    expect(report.evidence.stages.reduce((all, one) => all + one.samples, 0)).toBe(entries('sample'));
    expect(report.evidence.stages.map((one) => one.stage)).toEqual(['reads', 'writes']);
    expect(report.decisions).toHaveLength(entries('decision'));
    expect(report.routing).toHaveLength(entries('route') + entries('fence') + entries('writes moved'));
    const [moved] = await world.rows<{ pause: number }>(
      `select (detail->>'pauseMs')::float8 as pause from migration_control.audit_log where action = 'writes moved'`,
    );
    expect(report.routing.find((one) => one.what === 'writes moved')?.pauseMs).toBe(moved!.pause);
    expect(report.workflow).toMatchObject({ state: 'completed', note: null });
    expect(report.reverse).not.toBeNull();
    expect(report.notes).toEqual([]);
  });

  test('hold no id of a document, no address and no name of this machine', async () => {
    const text = `${JSON.stringify(report)}${await readFile(page, 'utf8')}`;
    const ids = await world.rows<{ source_id: string }>('select source_id from migration_control.migration_errors');
    for (const { source_id: id } of ids.filter((row) => row.source_id.length > 6)) expect(text).not.toContain(id);
    for (const name of ['SOURCE_MONGODB_URL', 'TARGET_POSTGRES_URL', 'TARGET_REDIS_URL', 'TEMPORAL_ADDRESS'])
      expect(text).not.toContain(world.environment[name]!.replace(/^\w+:\/\/([^/@]*@)?/, '').split('/', 1)[0]);
    expect(text).not.toContain(world.home);
  });
});

test('headless Chromium without a network shows the charts, and asks for nothing', async () => {
  const context = await chromium.browser.newContext({ offline: true, viewport: { width: 1280, height: 900 } });
  const tab = await context.newPage();
  const asked: string[] = [];
  const said: string[] = [];
  tab.on('request', (request) => void asked.push(request.url()));
  tab.on('console', (message) => void said.push(message.text()));
  tab.on('pageerror', (error) => void said.push(error.message));
  const address = pathToFileURL(page).href;
  await tab.goto(address);
  await tab.waitForLoadState('load');
  const seen = async (selector: string) => {
    const boxes = await Promise.all((await tab.locator(selector).all()).map((one) => one.boundingBox()));
    return boxes.filter((box) => box !== null && (box.width > 1 || box.height > 1)).length;
  };
  const charts = [
    'Progress of the copy',
    'Traffic',
    'Latency of reads',
    'What became of the documents',
    'Quarantine by rule',
  ];
  for (const title of charts) {
    const figure = `figure:has(h3:text-is("${title}"))`;
    expect(await seen(`${figure} svg`), `${title} is drawn`).toBe(1);
    expect(await seen(`${figure} svg :is(path.line, rect.bar)`), `${title} shows something`).toBeGreaterThan(0);
  }
  expect(await seen('figure rect.band')).toBeGreaterThan(0);
  expect(await tab.locator('main').evaluate((main) => main.scrollWidth <= main.clientWidth)).toBe(true);
  expect(await tab.locator('header h1').textContent()).toBe(`Migration ${world.name}`);
  expect(said).toEqual([]);
  expect(asked.filter((url) => url !== address && !url.startsWith('data:'))).toEqual([]);
});

test('without Temporal there is a report all the same; of another migration there is none', async () => {
  const nowhere = { TEMPORAL_ADDRESS: '127.0.0.1:1' };
  const ran = await world.causeway(['report', '--json'], nowhere);
  expect(ran.code).toBe(0);
  const silent = reportSchema.parse(JSON.parse(ran.stdout));
  expect(silent.workflow.state).toBeNull();
  expect(silent.workflow.note).not.toContain('127.0.0.1');
  expect(silent.collections.map((one) => one.now)).toEqual(report.collections.map((one) => one.now));
  await world.pool.query(`update migration_control.migration set name = 'another'`);
  const foreign = await world.causeway(['report', '--json']);
  expect([foreign.code, foreign.stderr]).toEqual([2, expect.stringContaining('another')]);
  await world.pool.query('update migration_control.migration set name = $1', [world.name]);
});

test("each workflow that a person may start is started from Temporal's web UI, with as little as it takes", async () => {
  const root = `migration/${world.name}`;
  const queue = (await world.temporal.workflow.getHandle(root).describe()).taskQueue;
  const tab = await (await chromium.browser.newContext({ viewport: { width: 900, height: 820 } })).newPage();
  tab.setDefaultTimeout(15_000);
  const start = async (type: string, id: string, input: string) => {
    await tab.goto(`${world.environment['TEMPORAL_UI_URL']}/namespaces/default/workflows/start-workflow`);
    await tab.getByLabel('Workflow ID').fill(id);
    await tab.getByLabel('Task Queue').fill(queue);
    await tab.getByLabel('Workflow Type').fill(type);
    if (input) await tab.locator('[contenteditable=true]').first().fill(input);
    // The editor sets its text anew when it is left, and the button moves.
    await tab.getByLabel('Workflow Type').focus();
    const [answer] = await Promise.all([
      tab.waitForResponse((one) => one.request().method() === 'POST' && one.url().includes('/workflows/')),
      tab.getByTestId('start-workflow-button').click(),
    ]);
    const { runId } = (await answer.json()) as { runId: string };
    return world.temporal.workflow
      .getHandle(id, runId)
      .result()
      .then(
        (result: unknown) => ({ result }),
        (error: { cause?: Error }) => ({ failed: error.cause?.message }),
      );
  };
  const ended: Record<string, unknown> = {};
  for (const [type, id, input] of [
    ['validation', `${root}/validation`, '{}'],
    ['checkpoint', `${root}/checkpoint/by-hand`, ''],
    ['verification', `${root}/verify`, '{}'],
    ['quarantineRetry', `${root}/quarantine/retry`, '{"dryRun": true}'],
    ['migration', root, '{}'],
    ['decommission', `${root}/decommission`, '{}'],
    ['rollback', `${root}/rollback`, ''],
    ['restore', `${root}/restore`, '"by-hand"'],
    ['changeCapture', 'by-hand', '{}'],
  ] as const)
    ended[type] = await start(type, id, input);
  expect(ended).toMatchObject({
    validation: { result: expect.any(Array) as unknown },
    checkpoint: { result: { name: 'by-hand' } },
    restore: { result: { name: 'by-hand', dryRun: true } },
    verification: { result: { different: 0 } },
    quarantineRetry: { result: { dryRun: true } },
    migration: { failed: expect.stringContaining('The migration is completed') as string },
    decommission: { failed: expect.stringContaining('give {"confirm": true}') as string },
    rollback: { result: { undone: [{ undo: 'cutover' }] } },
    changeCapture: { failed: expect.stringContaining('is a step of a migration') as string },
  });
});
