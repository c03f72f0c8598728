// The engine knows no application: none of its collections, targets, fields, zones and settings is named outside its folder. What still is stands here, and shrinks.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { mappingsOf } from '../../mappings/registry.ts';
import { application } from '../../mappings/tradingagents-cn/index.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const rooms = 'activities assess cli control core lineage report spool stack stores traffic workers workflows'.split(
  ' ',
);

/** Words of an application that are the engine's own as well, for things of its own. */
const shared = new Set(
  'configuration created_at createdAt expiresAt metadata session_id sessions updated_at userId users'.split(' '),
);

/** What is still named, file by file. Nothing may be added; what is gone must go here too. */
const left: Readonly<Record<string, readonly string[]>> = {
  // Times that a growth is read from: a mapping's own times would say it.
  'assess/growth.ts': ['_created_at', 'trade_date'],
  // The demo is traffic of TradingAgents-CN.
  'cli/demo/application.ts': [
    'analysis_type',
    'api_usage',
    'input_tokens',
    'model_name',
    'output_tokens',
    'token_usage',
  ],
  'cli/demo/traffic.ts': ['input_tokens', 'output_tokens', 'token_usage'],
  // How names of settings tell secrets; input_tokens is its example of one that is none.
  'core/redact.ts': ['config_name', 'input_tokens'],
  'core/settings.ts': ['Asia/Shanghai'],
};

/** Settings of the application that the engine still carries by name, instead of one value that only the mappings read. */
const carried = { providers: 30, zone: 39 };

const isTelling = (name: string) => /[a-z]_[a-z]|[a-z][A-Z]/.test(name);

const words = new Set(
  [...mappingsOf(application, 'the application').values()].flatMap((mapping) => [
    ...[mapping.collection, ...mapping.aliases, ...mapping.targets.map((target) => target.name)],
    ...[...Object.keys(mapping.shape.shape), ...Object.keys(mapping.otherNames)].filter(isTelling),
    ...mapping.targets.flatMap((target) => Object.keys((target as TableTarget).columns ?? {}).filter(isTelling)),
  ]),
);
for (const zone of ['Asia/Shanghai', 'Asia/Hong_Kong', 'America/New_York']) words.add(zone);
for (const one of shared) words.delete(one);

const files = execFileSync('git', ['ls-files', ...rooms], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter((file) => /\.(ts|sql|py|js)$/.test(file));
const textOf = (file: string) => readFileSync(root + file, 'utf8');
const names = (word: string) => new RegExp(`(?<!\\w)${word}(?!\\w)`);

test('nothing outside its folder names what is in an application, but for what is left', () => {
  const found = files.flatMap((file) => {
    const text = textOf(file);
    const its = [...words].filter((word) => names(word).test(text)).sort();
    return its.length > 0 ? [[file, its] as const] : [];
  });
  expect(words.size).toBeGreaterThan(60);
  expect(Object.fromEntries(found)).toEqual(left);
});

test.each(Object.entries(carried))('no more files than now carry the setting %s', (setting, most) => {
  const found = files.filter((file) => names(setting).test(textOf(file)));
  expect(found, 'fewer: lower the number').toHaveLength(most);
});
