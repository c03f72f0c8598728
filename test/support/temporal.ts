// A Temporal server of a test's own, with limits that the stack's does not have.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import getPort from 'get-port';
import { homeOf } from '../../stack/home.ts';
import { temporalBinary } from '../../stack/install.ts';
import { promptly, searchAttributes } from '../../stack/services.ts';

export interface OwnTemporal {
  readonly address: string;
  readonly stop: () => Promise<void>;
}

/**
 * `limits`: dynamic configuration of the server, as `limit.historyCount.suggestContinueAsNew`. `namespaces` besides `default`. Without `prepared` it
 * knows no search attribute of ours. Nothing of it is kept.
 */
export async function startTemporal(
  limits: Readonly<Record<string, number>>,
  namespaces: readonly string[] = [],
  prepared = true,
): Promise<OwnTemporal> {
  const port = await getPort();
  const address = `127.0.0.1:${port}`;
  const configured = Object.entries(limits).flatMap(([key, value]) => ['--dynamic-config-value', `${key}=${value}`]);
  const attributes = (prepared ? searchAttributes : []).flatMap((attribute) => ['--search-attribute', attribute]);
  const child = spawn(
    await temporalBinary(homeOf({}), () => undefined),
    ['server', 'start-dev', '--ip', '127.0.0.1', '--port', `${port}`, '--headless', '--log-level', 'error']
      .concat(promptly, configured)
      .concat(namespaces.flatMap((namespace) => ['--namespace', namespace]))
      .concat(attributes),
    { stdio: 'ignore' },
  );
  const stop = async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  };
  const answers = async () => {
    const connection = await Connection.connect({ address, connectTimeout: '1s' });
    await connection.workflowService.describeNamespace({ namespace: 'default' }).finally(() => connection.close());
  };
  for (const since = Date.now(); ; await sleep(250))
    try {
      await answers();
      break;
    } catch (error) {
      if (Date.now() - since < 60_000) continue;
      await stop();
      throw error;
    }
  return { address, stop };
}
