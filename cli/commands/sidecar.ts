// causeway sidecar: the router and the dual write over HTTP, for an application on this host.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { openResources, type Resources } from '../../activities/resources.ts';
import { readPolicy } from '../../activities/policy.ts';
import { KnownFailure } from '../../core/failures.ts';
import { makeFolder, writePrivately } from '../../spool/private.ts';
import { DualWriteManager, type SecondWriteFailure } from '../../traffic/dual-write.ts';
import { TrafficMetrics } from '../../traffic/metrics.ts';
import { Router } from '../../traffic/router.ts';
import { sidecar as build, sidecarWriteMs, type Parts } from '../../traffic/sidecar.ts';
import { home, readAddresses } from '../connect.ts';
import { liveCapture } from '../live.ts';
import { UsageError } from '../errors.ts';
import { print } from '../output.ts';

export const sidecar = (): Command =>
  new Command('sidecar')
    .description('router and dual write over HTTP on 127.0.0.1, for an application that does not run in Node')
    .option('--port <number>', 'where it listens', portOf, 7301)
    .action(async ({ port }: { port: number }) => {
      const { addresses } = await readAddresses();
      const folder = join(home(), 'sidecar');
      const resources = await openResources(addresses, folder, { host: '', process: '' });
      const opening = new Opening(resources);
      try {
        const token = randomBytes(32).toString('base64url');
        const tokenFile = join(folder, `token-${port}`);
        const server = build({ parts: () => opening.parts, mappings: resources.mappings, token });
        try {
          await server.listen({ host: '127.0.0.1', port }).catch((error: Error & { code?: string }) => {
            if (error.code !== 'EADDRINUSE') throw error;
            throw new UsageError(`Port ${port} is taken; give another with --port.`);
          });
          // Not before the port is ours: another sidecar on it has its own.
          await makeFolder(folder);
          await writePrivately(tokenFile, `${token}\n`);
          print(
            `Listening on http://127.0.0.1:${port}; the token stands in ${tokenFile}; docs/routing.md says what it answers. SIGINT or SIGTERM ends it.`,
          );
          await opening.begin();
          if (!opening.parts)
            print(
              "Change capture has not been opened yet: until the data phase opens it, everything is the old system's.",
            );
          await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
        } finally {
          await server.close();
          await opening.close();
        }
      } finally {
        await resources.close();
      }
    });

const askEveryMs = 2000;

/** What the sidecar answers with, as soon as there is a migration that captures. */
class Opening {
  readonly #resources: Resources;
  #opened: { parts: Parts; close(): Promise<void> } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #said = '';

  constructor(resources: Resources) {
    this.#resources = resources;
  }

  get parts(): Parts | undefined {
    return this.#opened?.parts;
  }

  /** Asks now, and again until it is there. A key that is another is refused at once. */
  async begin(): Promise<void> {
    try {
      this.#opened = await this.#open();
    } catch (error) {
      if (!(error instanceof KnownFailure) || error.type === 'KeyMissing') throw error;
      if (error.message !== this.#said) process.stderr.write(`sidecar: ${error.message}\n`);
      this.#said = error.message;
    }
    if (this.#opened) return;
    this.#timer = setTimeout(() => void this.begin().catch(end), askEveryMs);
  }

  async #open(): Promise<{ parts: Parts; close(): Promise<void> } | undefined> {
    const resources = this.#resources;
    const settings = (await liveCapture()) && (await readPolicy(resources.postgres));
    if (!settings) return undefined;
    const { postgres } = resources.addresses;
    const metrics = new TrafficMetrics({ postgres });
    const router = await Router.open({ postgres, writeMs: sidecarWriteMs });
    const manager = await DualWriteManager.open({
      source: resources.source,
      targets: resources,
      routes: router,
      settings,
      onFailure: tell,
    });
    return {
      parts: { router, manager, metrics },
      async close() {
        manager.close();
        await metrics.close();
        await router.close();
      },
    };
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#opened?.close();
  }
}

const end = (error: Error): void => {
  process.stderr.write(`causeway: ${error.message}\n`);
  process.exitCode = 1;
  process.kill(process.pid, 'SIGTERM');
};

function portOf(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new InvalidArgumentError('A port is 1 to 65535.');
  return port;
}

const tell = ({ collection, class: kind, reason, documents }: SecondWriteFailure): void =>
  void process.stderr.write(`second write of ${documents} documents of ${collection}, ${kind}: ${reason}\n`);
