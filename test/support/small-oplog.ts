// A source of its own with an oplog of a few entries, so that a test can have it roll over.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import getPort from 'get-port';
import { MongoClient } from 'mongodb';
import { homeOf } from '../../stack/home.ts';
import { mongoBinary } from '../../stack/install.ts';

export interface SmallSource {
  readonly url: string;
  readonly client: MongoClient;
  close(): Promise<void>;
}

export async function smallSource(values: Record<string, string>, entries: number): Promise<SmallSource> {
  const { path } = await mongoBinary(homeOf(values), () => undefined);
  const folder = await mkdtemp(join(tmpdir(), 'small-oplog-'));
  const port = await getPort({ host: '127.0.0.1' });
  const flags = [
    '--host',
    '127.0.0.1',
    '--port',
    `${port}`,
    '--storage-path',
    folder,
    '--oplog-max-entries',
    `${entries}`,
  ];
  const server: ChildProcess = spawn(path, flags, { stdio: 'ignore' });
  const url = `mongodb://127.0.0.1:${port}/small?directConnection=true`;
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 10_000 });
  await client.db().command({ ping: 1 });
  return {
    url,
    client,
    async close() {
      await client.close();
      server.kill('SIGKILL');
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
