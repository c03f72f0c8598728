// One worker process: workflows and light activities, reading the source, and the work on the segments of this host.
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeConnection } from '@temporalio/worker';
import { OpenReads } from '../activities/extract.ts';
import { describeIdentity, identify, type Identity } from '../activities/identity.ts';
import { openResources, spoolFolder, type Addresses } from '../activities/resources.ts';
import { requireKey } from '../control/sealing.ts';
import { VaultError } from '../control/vault.ts';
import { tidySpool } from '../activities/tidy-spool.ts';
import { catchUpControlSchema } from '../control/schema.ts';
import { KnownFailure, type FailureType } from '../core/failures.ts';
import { queueOf } from '../core/owner.ts';
import { makeOwnFolder } from '../spool/private.ts';
import { workflowBundle } from './bundle.ts';
import type { Environment } from './environment.ts';
import { stayLean } from './memory.ts';
import { Serving } from './serving.ts';
import { watchStores } from './store-watch.ts';
import { reach, registerAttributes, withoutAttributes } from './temporal.ts';
import { workersFor } from './queues.ts';

export interface RunningWorker {
  /** Ends when the worker has stopped, by `stop` or by itself. */
  readonly stopped: Promise<void>;
  readonly queues: { readonly host: string; readonly process: string };
  stop(): void;
}

/** A host whose workers all stay up still has segments that no copy waits for, when the copy ended on another host. */
const tidyEveryMs = 600_000;

export interface WorkerSettings {
  /** The one migration that it serves. */
  readonly migration: string;
  /** Where spool and bundle live; hosts with one home in common share their segments' queues. */
  readonly home: string;
  readonly log?: (line: string) => void;
  /** Ends the waiting for stores that do not answer. */
  readonly signal?: AbortSignal;
}

/** Starts polling and returns. A worker that does not know whose stores it has polls nothing: it waits, and says for what. */
export async function startWorker(environment: Environment, settings: WorkerSettings): Promise<RunningWorker> {
  stayLean();
  const { migration, log = () => undefined } = settings;
  const home = resolve(settings.home);
  const { address, namespace } = environment.temporal;
  const connection = await reach(environment.temporal, () =>
    NativeConnection.connect({ address, ...environment.temporal.options }),
  );
  const missing = await registerAttributes(connection, environment.temporal);
  if (missing) log(withoutAttributes(missing));
  const identity = await whenKnown(environment.addresses, { ...settings, home, log }).catch(async (error: unknown) => {
    await connection.close();
    throw error;
  });
  const { owner } = identity;
  const spool = spoolFolder(home, owner);
  await makeOwnFolder(spool);
  const bundle = await workflowBundle(join(home, 'bundle'));
  const host = `${queueOf(owner)}/host-${hostname()}-${createHash('sha256').update(spool).digest('hex').slice(0, 8)}`;
  const queues = { host, process: `${host}-${process.pid}` };
  const resources = await openResources(environment.addresses, home, { ...queues, owner, attributes: !missing });
  const reads = new OpenReads();
  await catchUpControlSchema(resources.postgres).catch((error: Error) =>
    log(`the control schema is as it was: ${error.message}`),
  );
  await requireKey(resources.postgres).catch((error: unknown) => {
    if (error instanceof VaultError) throw error;
    log(`the migration's key could not be looked up yet: ${(error as Error).message}`);
  });
  const tidy = () =>
    tidySpool(resources.spool, resources.postgres).then(
      (removed) => void (removed > 0 && log(`removed ${removed} segments of workers that have ended from the spool`)),
      (error: Error) => log(`the spool is as it was: ${error.message}`),
    );
  await tidy();
  const tidying = setInterval(() => void tidy(), tidyEveryMs);
  tidying.unref();
  resources.sessions.watch();

  const control = queueOf(identity.owner);
  const workers = await workersFor({ connection, namespace, control, bundle, resources, reads });
  const watch = watchStores(resources, log);
  const serving = new Serving(workers, await workers.activities(), watch, log);
  watch.start();
  log(`polling ${control} for migration ${migration}, and the queues of this host`);
  for (const line of describeIdentity(identity).slice(1)) log(line);

  const stopped = serving.stopped.finally(async () => {
    await reads.close();
    clearInterval(tidying);
    await watch.stop();
    await resources.close();
    await connection.close();
  });
  // Each caller awaits `stopped` when it is ready to; until then a failure must not end the process unexplained.
  stopped.catch(() => undefined);
  return {
    stopped,
    queues,
    stop: () => serving.stop(),
  };
}

const askEveryMs = 2000;
/** Who waited would wait in vain: the stores answer, and are not those that were meant. */
const answered = new Set<FailureType>(['ForeignStores', 'NoSuchDatabase']);

/** Which stores these are. Stores that do not answer are asked again, for as long as it takes; others' are refused. */
async function whenKnown(
  addresses: Addresses,
  { migration, home, log, signal }: WorkerSettings & { readonly log: (line: string) => void },
): Promise<Identity> {
  const resources = await openResources(addresses, home, { host: '', process: '' });
  let said = '';
  try {
    for (;;) {
      try {
        return await identify(resources, migration);
      } catch (error) {
        if (!(error instanceof KnownFailure) || answered.has(error.type) || signal?.aborted) throw error;
        if (error.message !== said) log(`no work is taken yet: ${error.message}`);
        said = error.message;
      }
      await sleep(askEveryMs, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    await resources.close();
  }
}
