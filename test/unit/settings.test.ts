// Settings: defaults, refusals, and the page that documents them.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { performanceSchema, readSettings, settingsSchema } from '../../core/settings.ts';

const page = fileURLToPath(new URL('../../docs/settings.md', import.meta.url));

interface Properties {
  properties: Record<string, { type?: string; description?: string; default?: unknown }>;
}

const propertiesOf = (schema: z.ZodType) => z.toJSONSchema(schema, { io: 'input' }) as unknown as Properties;

const rowsOf = (properties: Properties['properties']): string[] =>
  Object.entries(properties).map(([name, its]) => {
    const below = name === 'stages' || name === 'performance';
    const value = its.default === undefined ? '' : below ? 'see below' : `\`${JSON.stringify(its.default)}\``;
    return `| \`${name}\` | ${its.type ?? ''} | ${value} | ${its.description ?? ''} |`;
  });

/** The page as the schema says it; `UPDATE_DOCS=1 npx vitest run --project unit test/unit/settings` writes it. */
function render(): string {
  const schema = propertiesOf(settingsSchema);
  const rows = rowsOf(schema.properties);
  const stages = JSON.stringify(schema.properties['stages']!.default, null, 2);
  return `# Settings

\`causeway start --config FILE\` reads them from a JSON file. They are checked before anything is started; unknown keys are refused. They hold
no addresses and no passwords: those come from the environment of the workers.

\`zone\` and \`providers\` are in force for every writer from the moment change capture is opened; later only
\`causeway quarantine retry --config FILE\` changes them.

\`CAUSEWAY_QUARANTINE_KEY\` encrypts what Causeway keeps of documents: quarantine, captured changes, snapshots, Redis keys and chunk bounds
([decision 0030](decisions/0030-secrets-at-rest.md)). Keys of 32 bytes in base64 or hex, separated by commas; the first encrypts documents, the
last is the one that the migration began with ([runbook](runbook/8-quarantine-and-lineage.md)). Where it is not set, the host makes a key and
keeps it in \`migration-key\` of its home, \`CAUSEWAY_HOME\` or \`.causeway\`. Every host of a migration needs the same key, the applications'
hosts included: as soon as there are two, set the variable on all of them. A host with another key is refused.

Files that Causeway writes (spool, snapshots, reports, configuration files, logs, planted documents, keys) are readable for the account that
runs it and for nobody else: 0600 in folders of 0700. \`chmod\` a report before others are to read it. A folder that was there keeps its mode.

| setting | type | default | meaning |
|---|---|---|---|
${rows.join('\n')}

What \`performance\` holds, by default the strategy's benchmarks ([runbook](runbook/9-performance.md)):

| setting | type | default | meaning |
|---|---|---|---|
${rowsOf(propertiesOf(performanceSchema).properties).join('\n')}

The stages of the cutover, by default the strategy's:

\`\`\`json
${stages}
\`\`\`
`;
}

test('docs/settings.md is what the schema says', () => {
  if (process.env['UPDATE_DOCS']) writeFileSync(page, render());
  expect(readFileSync(page, 'utf8')).toBe(render());
});

test('nothing given, everything has a default', () => {
  const read = readSettings({});
  expect(read).toMatchObject({
    settings: { parallelism: 4, sampleRate: 0.1, sampleMinimum: 1000, zone: 'Asia/Shanghai' },
  });
});

test('unknown keys and values out of range are named', () => {
  expect(readSettings({ paralellism: 3 })).toMatchObject({ problems: [expect.stringContaining('paralellism')] });
  expect(readSettings({ sampleRate: 2, parallelism: 1.5 })).toMatchObject({
    problems: [expect.stringContaining('parallelism'), expect.stringContaining('sampleRate')],
  });
  expect(readSettings('x')).toHaveProperty('problems');
});
