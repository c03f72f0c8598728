// npm run soak: a longer chaos on a stack of its own. --seed 1 --rate 1000 --seconds 180 --kills 10 --documents 100000
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { seedSource } from '../../seed/index.ts';
import { checkout } from '../../stack/home.ts';
import { down, reset, up } from '../../stack/index.ts';
import { chaos, victims } from './chaos.ts';
import { randomFrom } from './random.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    rate: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '180' },
    kills: { type: 'string', default: '10' },
    documents: { type: 'string', default: '100000' },
  },
});
const [seed, rate, seconds, kills, documents] = [
  values.seed,
  values.rate,
  values.seconds,
  values.kills,
  values.documents,
].map(Number) as [number, number, number, number, number];
const say = (line: string) => process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

const stackHome = join(tmpdir(), `causeway-soak-${process.pid}`);
const home = { CAUSEWAY_HOME: stackHome, CAUSEWAY_TOOLS: join(checkout, '.causeway', 'tools') };
try {
  const environment = { ...(await up(() => undefined, home)), ...home };
  await seedSource({
    url: environment.SOURCE_MONGODB_URL,
    documents,
    dirty: 0.02,
    seed,
    plantedFile: join(stackHome, 'planted.jsonl'),
  });
  say(`seeded ${documents} documents; ${rate} writes/s for ${seconds} s, ${kills} kills, seed ${seed}`);
  const random = randomFrom(seed);
  const order = Array.from({ length: kills }, () => victims[Math.floor(random() * victims.length)]!);
  const result = await chaos({ environment, stackHome, migration: 'soak', rate, seconds, seed, kills: order, say });
  for (const difference of result.differences.slice(0, 20)) say(JSON.stringify(difference));
  say(JSON.stringify({ ...result, differences: result.differences.length }));
  process.exitCode = result.differences.length === 0 && result.end.state === 'completed' ? 0 : 1;
} finally {
  await down(home);
  if (process.exitCode === 0) {
    await reset(home);
    await rm(stackHome, { recursive: true, force: true });
  } else say(`what was left stands in ${stackHome}`);
}
