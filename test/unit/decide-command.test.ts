// causeway decide: evidence in, decisions out, and clear words where a file is no evidence.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { checkout } from '../../stack/home.ts';

const folder = mkdtempSync(join(tmpdir(), 'causeway-decide-'));
afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const run = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(checkout, 'bin', 'causeway.js'), 'decide', ...args],
    { encoding: 'utf8' },
  );
  return { code: status, stdout, stderr };
};
const at = (n: number, its: object = {}) => ({
  from: new Date(1.7e12 + n * 10_000).toISOString(),
  to: new Date(1.7e12 + (n + 1) * 10_000).toISOString(),
  ...its,
});
const probes = { old: { reads: 5, p50Ms: 3 }, new: { reads: 5, p50Ms: 900 } };
const slow = { collections: { token_usage: { probes } } };

test('lines, an array or one interval; the verdict after each, with its reasons; exit code 1 where it would go back', () => {
  const lines = file('lines.jsonl', [at(0), at(1, slow), at(2, slow)].map((one) => JSON.stringify(one)).join('\n\n'));
  const told = run('--evidence', lines);
  expect(told.code, told.stderr).toBe(1);
  const said = told.stdout.split('\n');
  expect(said[0]).toMatch(/ {2}continue$/);
  expect(said[1]).toMatch(/ {2}hold, severity low$/);
  expect(said[3]).toMatch(/ {2}rollback \(expedited\), severity high$/);
  expect(said[4]).toBe(
    '  token_usage, probes: queries take 45 times as long as on the old system (more than 3); 5 samples in 10 s, interval 2 of 2 in a row',
  );
  const array = run('--evidence', file('array.json', JSON.stringify([at(0), at(1, slow)], null, 2)), '--json');
  expect(array.code).toBe(0);
  expect(JSON.parse(array.stdout)).toMatchObject([
    { action: 'continue', severity: 'none', reasons: [] },
    { action: 'hold', reasons: [{ trigger: 'query_time_increase', seen: 1, needed: 2 }] },
  ]);
  expect(
    run('--evidence', file('one.json', JSON.stringify(at(0, { incidents: [{ kind: 'security_breach' }] })))).code,
  ).toBe(1);
});

test('another policy, another verdict', () => {
  const evidence = file('slow.json', JSON.stringify([at(0, slow), at(1, slow)]));
  expect(run('--evidence', evidence).code).toBe(1);
  expect(run('--evidence', evidence, '--policy', file('policy.json', '{"queryTime": {"ratio": 50}}')).code).toBe(0);
});

test.each([
  ['no such file', [], 'nothing.json', 'cannot be read (ENOENT)'],
  ['no JSON', ['{"from": '], 'broken.jsonl', 'line 1: this is no JSON'],
  ['nothing', [''], 'empty.jsonl', 'holds no evidence'],
  ['a word too much', [JSON.stringify(at(0, { incident: 1 }))], 'unknown.json', 'incident'],
  [
    'a wrong value',
    [JSON.stringify([at(0), at(1, { capture: { lagMs: -1 } })])],
    'wrong.json',
    'interval 2: capture.lagMs',
  ],
  ['out of order', [JSON.stringify([at(1), at(0)])], 'order.json', 'interval 2: it ends at'],
] as const)('%s: exit code 2, and which place', (_, text, name, message) => {
  const path = text.length === 0 ? join(folder, name) : file(name, text[0]);
  const told = run('--evidence', path);
  expect(told.code).toBe(2);
  expect(told.stderr).toContain(name);
  expect(told.stderr).toContain(message);
  expect(told.stdout).toBe('');
});

test('a policy that is none: exit code 2', () => {
  const told = run('--evidence', file('ok.json', JSON.stringify(at(0))), '--policy', file('bad.json', '{"ratio": 3}'));
  expect(told.code).toBe(2);
  expect(told.stderr).toContain('ratio');
  expect(run('--evidence', join(folder, 'ok.json'), '--policy', join(folder, 'bad.json')).code).toBe(2);
  expect(run().code).toBe(2);
});
