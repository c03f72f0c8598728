// causeway sidecar: the router and the dual write over HTTP, for an application on this host.
import { once } from 'node:events';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { openResources } from '../../activities/resources.ts';
import { readPolicy } from '../../activities/policy.ts';
import { DualWriteManager, type SecondWriteFailure } from '../../traffic/dual-write.ts';
import { Router } from '../../traffic/router.ts';
import { sidecar as build } from '../../traffic/sidecar.ts';
import { home, liveCapture, readAddresses } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { print } from '../output.ts';

export const sidecar = (): Command =>
  new Command('sidecar')
    .description('router and dual write over HTTP on 127.0.0.1, for an application that does not run in Node')
    .option('--port <number>', 'where it listens', portOf, 7301)
    .action(async ({ port }: { port: number }) => {
      const { addresses } = await readAddresses();
      const resources = await openResources(addresses, join(home(), 'sidecar'), { host: '', process: '' });
      try {
        const settings = (await liveCapture()) && (await readPolicy(resources.postgres));
        if (!settings)
          throw new UsageError('Change capture has not been opened; the data phase of `causeway start` opens it.');
        const router = await Router.open({ postgres: addresses.postgres });
        const manager = await DualWriteManager.open({
          source: resources.source,
          targets: resources,
          routes: router,
          settings,
          onFailure: tell,
        });
        const server = build({ router, manager });
        try {
          await server.listen({ host: '127.0.0.1', port }).catch((error: Error & { code?: string }) => {
            if (error.code !== 'EADDRINUSE') throw error;
            throw new UsageError(`Port ${port} is taken; give another with --port.`);
          });
          print(
            `Listening on http://127.0.0.1:${port}; docs/routing.md says what it answers. SIGINT or SIGTERM ends it.`,
          );
          await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
        } finally {
          await server.close();
          manager.close();
          await router.close();
        }
      } finally {
        await resources.close();
      }
    });

function portOf(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new InvalidArgumentError('A port is 1 to 65535.');
  return port;
}

const tell = ({ collection, class: kind, reason, documents }: SecondWriteFailure): void =>
  void process.stderr.write(`second write of ${documents} documents of ${collection}, ${kind}: ${reason}\n`);
