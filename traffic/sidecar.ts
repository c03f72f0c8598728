// The router and the dual write over HTTP, for an application that does not run in Node: one beside each of its processes (docs/routing.md).
import { randomUUID } from 'node:crypto';
import { EJSON } from 'bson';
import { fastify, type FastifyInstance } from 'fastify';
import { z } from 'zod';
import { KnownFailure } from '../core/failures.ts';
import { sourceId } from '../core/identity.ts';
import type { DualWriteManager } from './dual-write.ts';
import type { Admission, Router } from './router.ts';

export interface SidecarOptions {
  readonly router: Router;
  readonly manager: Pick<DualWriteManager, 'begin' | 'secondWrite' | 'counters'>;
  /** After this a write whose end nobody has told of counts as ended, ms: an application that died must not hold up a cutover. Default 30 000. */
  readonly writeMs?: number;
}

interface Begun {
  readonly collection: string;
  readonly admission: Admission;
  readonly timer: NodeJS.Timeout;
}

/** Documents by `_id` in Extended JSON, as `bson.json_util.dumps` writes it. */
const ended = z.strictObject({ ids: z.array(z.unknown()).max(10_000).default([]) });

/** Not listening yet. Closing it ends every write that it let begin. */
export function sidecar({ router, manager, writeMs = 30_000 }: SidecarOptions): FastifyInstance {
  const server = fastify({ logger: false });
  const writes = new Map<string, Begun>();

  server.get('/state', () => ({ state: router.state, secondWrites: manager.counters }));

  server.get<{ Params: { collection: string }; Querystring: { user?: string } }>(
    '/reads/:collection',
    ({ params, query }) => ({
      side: router.sideOfRead(params.collection, query.user),
      percentage: router.routeOf(params.collection).percentage,
    }),
  );

  server.post<{ Params: { collection: string } }>('/writes/:collection', async ({ params }) => {
    const admission = await manager.begin(params.collection);
    if (!admission) return { write: null, mode: 'old' };
    const write = randomUUID();
    const timer = setTimeout(() => end(write), writeMs);
    timer.unref();
    writes.set(write, { collection: params.collection, admission, timer });
    const { mapping, route, waitedMs } = admission;
    return { write, mode: route.writeMode, mapping, epoch: route.epoch, waitedMs: Math.round(waitedMs) };
  });

  server.post<{ Params: { write: string } }>('/writes/:write/done', async ({ params, body }, reply) => {
    const read = ended.safeParse(body ?? {});
    if (!read.success) return reply.code(400).send({ error: 'The body must be {"ids": [_id, ...]} in Extended JSON.' });
    const begun = writes.get(params.write);
    if (!begun)
      return reply.code(404).send({
        error: 'No such write: it has ended, or took too long. Change capture brings what the old system has.',
      });
    try {
      const { epoch, writeMode } = begun.admission.route;
      if (writeMode === 'dual_write') await manager.secondWrite(begun.collection, read.data.ids.map(idOf), epoch);
      return {};
    } finally {
      end(params.write);
    }
  });

  const end = (write: string): void => {
    const begun = writes.get(write);
    writes.delete(write);
    clearTimeout(begun?.timer);
    begun?.admission.done();
  };
  server.addHook('onClose', () => [...writes.keys()].forEach(end));
  server.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
    const busy = error instanceof KnownFailure && error.type === 'StoreBusy';
    const known = busy || (error.statusCode ?? 500) < 500;
    return reply
      .code(busy ? 503 : (error.statusCode ?? 500))
      .send({ error: known ? error.message : 'The sidecar failed; nothing was written by it.' });
  });
  return server;
}

const idOf = (id: unknown): string => sourceId(EJSON.deserialize({ id } as never)['id']);
