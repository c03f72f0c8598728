// A Temporal cluster as others run it: nobody prepared it for us, it stands behind TLS and demands a client's certificate, an API key and headers.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { NativeConnection } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { reach, readTemporal } from '../../workers/temporal.ts';
import { makeCertificates, type Certificates } from '../support/certificates.ts';
import { startTemporal, type OwnTemporal } from '../support/temporal.ts';
import { reaching, temporalProxy, type TemporalProxy } from '../support/temporal-proxy.ts';
import { within } from '../support/within.ts';
import { World } from '../support/world.ts';

const key = 'an-api-key:p@ss/%';
let temporal: OwnTemporal;
let world: World;
let folder: string;
let tls: Certificates;
let others: Certificates;
let secure: TemporalProxy;
/** What a client of the cluster sets. */
let client: Record<string, string>;
let silent: ReturnType<typeof createServer>;
const silenced = new Set<Socket>();

const attributesOf = async (namespace: string) => {
  const { customAttributes } = await world.temporal.connection.operatorService.listSearchAttributes({ namespace });
  const ours = ['MigrationName', 'MigrationPhase', 'CutoverPercentage', 'Collection'];
  return ours.filter((name) => customAttributes?.[name] !== undefined);
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'certificates-'));
  tls = await makeCertificates(join(folder, 'ours'));
  others = await makeCertificates(join(folder, 'others'));
  temporal = await startTemporal({}, ['few-rights'], false);
  secure = await temporalProxy(temporal.address, tls);
  client = { ...reaching(secure, tls, key), TEMPORAL_GRPC_META_X_TEAM: 'blue' };
  silent = createServer((socket) => void silenced.add(socket.on('error', () => undefined))).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  world = await World.open('temporal', temporal.address);
  await world.seed(300, 0);
});
afterAll(async () => {
  await world?.close();
  for (const socket of silenced) socket.destroy();
  silent?.close();
  await secure?.stop();
  await temporal?.stop();
  await rm(folder, { recursive: true, force: true });
});

test('without the right to register search attributes the migration runs without them, and who may is told how', async () => {
  const proxy = await temporalProxy(temporal.address);
  proxy.refuse('OperatorService');
  const refused = { TEMPORAL_ADDRESS: proxy.address, TEMPORAL_NAMESPACE: 'few-rights' };
  try {
    const worker = await world.worker(refused);
    const dry = await world.causeway(['start', '--dry-run', '--until', 'schema'], refused);
    expect(dry).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/search attributes.*unauthorized/is) as string,
    });
    const ran = await world.causeway(['start', '--until', 'schema', '--wait'], refused);
    expect(ran.code, `${ran.stdout} ${ran.stderr}`).toBe(0);
    expect(ran.stderr).toContain(
      'temporal operator search-attribute create --namespace few-rights --name CutoverPercentage --type Int',
    );
    expect((await world.causeway(['status'], refused)).stdout).toMatch(/schema.*completed/s);
    expect((await world.causeway(['rollback', '--reason', 'test', '--wait'], refused)).code).toBe(0);
    expect(await attributesOf('few-rights')).toEqual([]);
    worker.kill('SIGKILL');
    await once(worker, 'exit');
  } finally {
    await proxy.stop();
  }
});

test('behind TLS, with a client certificate, an API key and headers; search attributes are registered', async () => {
  const dry = await world.causeway(['start', '--dry-run', '--until', 'schema'], client);
  expect(dry).toMatchObject({ code: 0, stdout: expect.stringMatching(/registers.*MigrationName/s) as string });
  expect(await attributesOf('default')).toEqual([]);
  await world.worker(client);
  const ran = await world.causeway(['start', '--until', 'schema', '--wait'], client);
  expect(ran.code, `${ran.stdout} ${ran.stderr}`).toBe(0);
  expect(await attributesOf('default')).toHaveLength(4);
  const paths = new Set(secure.calls.map((call) => String(call[':path']).split('/').at(-1)));
  for (const path of ['StartWorkflowExecution', 'PollWorkflowTaskQueue', 'PollActivityTaskQueue', 'QueryWorkflow'])
    expect([...paths]).toContain(path);
  for (const call of secure.calls)
    expect(call, String(call[':path'])).toMatchObject({ authorization: `Bearer ${key}`, 'x-team': 'blue' });
  const { typedSearchAttributes } = await world.temporal.workflow.getHandle(`migration/${world.name}`).describe();
  expect(typedSearchAttributes.getAll().map((pair) => pair.key.name)).toContain('MigrationPhase');
});

const without = (...names: string[]) =>
  Object.fromEntries(Object.entries(client).filter(([name]) => !names.includes(name)));
const plain = (port: number) => ({ TEMPORAL_ADDRESS: `127.0.0.1:${port}` });

type Wrong = readonly [what: string, settings: () => Record<string, string>, sentence: RegExp];
const wrong: readonly Wrong[] = [
  [
    'another CA',
    () => ({ ...client, TEMPORAL_TLS_SERVER_CA_CERT_PATH: others.ca }),
    /cannot be reached \(.*certificate.*TEMPORAL_TLS_SERVER_CA_CERT_PATH/i,
  ],
  [
    'no client certificate',
    () => without('TEMPORAL_TLS_CLIENT_CERT_PATH', 'TEMPORAL_TLS_CLIENT_KEY_PATH'),
    /cannot be reached \(.*certificate required.*TEMPORAL_TLS_CLIENT_CERT_PATH/,
  ],
  [
    "another CA's client certificate",
    () => ({
      ...client,
      TEMPORAL_TLS_CLIENT_CERT_PATH: others.client.cert,
      TEMPORAL_TLS_CLIENT_KEY_PATH: others.client.key,
    }),
    /cannot be reached.*TEMPORAL_TLS_CLIENT_CERT_PATH/,
  ],
  [
    'a name that is not in the certificate',
    () => ({ ...client, TEMPORAL_TLS_SERVER_NAME: 'temporal.example.org' }),
    /cannot be reached \(.*temporal\.example\.org.*TEMPORAL_TLS_SERVER_NAME/,
  ],
  [
    'TLS asked of nobody who has it',
    () => ({ ...client, ...plain(Number(temporal.address.split(':')[1])) }),
    /cannot be reached \(.*wrong version.*It is asked over TLS/i,
  ],
  ['TLS not asked', () => ({ TEMPORAL_ADDRESS: secure.address }), /cannot be reached.*TEMPORAL_TLS=true/],
  [
    'an unknown namespace',
    () => ({ ...client, TEMPORAL_NAMESPACE: 'nowhere' }),
    /has no namespace "nowhere".*temporal operator namespace create/,
  ],
  ['nobody listens', () => plain(1), /127\.0\.0\.1:1 cannot be reached \(.*ECONNREFUSED/],
  ['no answer', () => plain((silent.address() as AddressInfo).port), /cannot be reached \(.*says nothing/],
];

test('whatever is wrong with the line, one sentence says what, to commands and to workers', async () => {
  const asked = wrong.flatMap(([what, values, sentence]) => {
    const settings = readTemporal(values())!;
    const { address, options } = settings;
    const ways = [
      () => Connection.connect({ address, connectTimeout: '5s', ...options }),
      () => NativeConnection.connect({ address, ...options }),
    ];
    return ways.map(async (connect) => {
      const outcome = await reach<Awaited<ReturnType<(typeof ways)[number]>>>(settings, connect).then(
        () => 'reached',
        (error: Error) => `${error.name}: ${error.message}`,
      );
      return { what, outcome, sentence };
    });
  });
  for (const { what, outcome, sentence } of await Promise.all(asked)) {
    expect(outcome, what).toMatch(/^UnreachableError: [^\n]+$/);
    expect(outcome, what).toMatch(sentence);
    expect(outcome, what).not.toContain(key);
  }
});

test('exit code 3 and one line, of commands and of the worker, which does not wait for ever', async () => {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error('a command still runs')), within(25_000)).unref();
  });
  const asked = [0, wrong.length - 1].flatMap((n) =>
    [['status'], ['worker'], ['start', '--dry-run']].map((command) => world.causeway(command, wrong[n]![1]())),
  );
  try {
    for (const { code, stderr } of await Promise.race([Promise.all(asked), late]))
      expect({ code, stderr, lines: stderr.trim().split('\n').length }).toMatchObject({ code: 3, lines: 1 });
  } finally {
    world.stopCommands();
  }
});
