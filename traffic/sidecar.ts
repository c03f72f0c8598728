// The router and the dual write over HTTP, for an application that does not run in Node: one beside each of its processes (docs/routing.md).
import { randomUUID, timingSafeEqual } from 'node:crypto';
import { EJSON } from 'bson';
import { fastify, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import { KnownFailure } from '../core/failures.ts';
import { idFromSourceId, sourceId } from '../core/identity.ts';
import type { Mapping } from '../mappings/mapping.ts';
import type { DualWriteManager } from './dual-write.ts';
import type { TrafficMetrics } from './metrics.ts';
import type { Admission, Router } from './router.ts';

export interface Parts {
  readonly router: Pick<Router, 'state' | 'sideOfRead' | 'routeOf'>;
  readonly manager: Pick<DualWriteManager, 'begin' | 'secondWrite' | 'counters'>;
  readonly metrics: Pick<TrafficMetrics, 'countRead' | 'countWrites'>;
}

export interface SidecarOptions {
  /** undefined before change capture has been opened: until then everything is the old system's. */
  readonly parts: () => Parts | undefined;
  readonly mappings: ReadonlyMap<string, Pick<Mapping, 'collection' | 'aliases'>>;
  /** Every request but `/health` carries it as `Authorization: Bearer`. */
  readonly token: string;
  /** After this a write whose end nobody has told of counts as ended, ms: shorter than a fence (`fenceMs`), so that it never holds one up. */
  readonly writeMs?: number;
}

interface Begun {
  readonly collection: string;
  readonly mapping: string;
  readonly admission: Admission;
  readonly timer: NodeJS.Timeout;
}

/** Shorter than a fence lasts. */
export const sidecarWriteMs = 1500;

/** How an operation went, as its caller saw it. */
const outcome = { failed: z.boolean().default(false), ms: z.number().min(0).max(3_600_000).optional() };
/** Documents by `_id` in Extended JSON, as `bson.json_util.dumps` writes it. */
const ended = z.strictObject({ ids: z.array(z.unknown()).max(10_000).default([]), ...outcome });
const wasRead = z.strictObject({ side: z.enum(['old', 'new']), ...outcome, ms: z.number().min(0).max(3_600_000) });

/** Not listening yet. Closing it ends every write that it let begin. */
export function sidecar({ parts, mappings, token, writeMs = sidecarWriteMs }: SidecarOptions): FastifyInstance {
  const server = fastify({ logger: false });
  const writes = new Map<string, Begun>();
  const names = new Map(
    [...mappings.values()].flatMap(({ collection, aliases }) =>
      [collection, ...aliases].map((name): [string, string] => [name, collection]),
    ),
  );
  const end = (write: string): void => {
    const begun = writes.get(write);
    writes.delete(write);
    clearTimeout(begun?.timer);
    begun?.admission.done();
  };
  server.addHook('onRequest', (request, reply, done) => {
    const refusal = refusalOf(request, token);
    if (refusal) void reply.code(refusal.code).send({ error: refusal.error });
    else done();
  });

  server.get('/health', () => ({ healthy: true, ready: parts() !== undefined }));
  server.get('/state', () => {
    const its = parts();
    return its
      ? { state: its.router.state, secondWrites: its.manager.counters, writes: writes.size }
      : { state: 'before' };
  });

  server.get<{ Params: { collection: string }; Querystring: { user?: string } }>(
    '/reads/:collection',
    ({ params, query }, reply) => {
      const mapping = names.get(params.collection);
      if (mapping === undefined) return unknown(reply, names);
      const its = parts();
      if (!its) return { side: 'old', percentage: 0, mapping };
      return {
        side: its.router.sideOfRead(mapping, query.user),
        percentage: its.router.routeOf(mapping).percentage,
        mapping,
      };
    },
  );
  server.post<{ Params: { collection: string } }>('/reads/:collection/done', ({ params, body }, reply) => {
    const mapping = names.get(params.collection);
    if (mapping === undefined) return unknown(reply, names);
    const read = wasRead.safeParse(body ?? {});
    if (!read.success)
      return reply.code(400).send({ error: 'The body must be {"side": "old" or "new", "ms": 12.5, "failed": false}.' });
    parts()?.metrics.countRead(mapping, read.data.side, read.data.ms, read.data.failed);
    return {};
  });

  server.post<{ Params: { collection: string } }>('/writes/:collection', async ({ params }, reply) => {
    const mapping = names.get(params.collection);
    if (mapping === undefined) return unknown(reply, names);
    const admission = await parts()?.manager.begin(params.collection);
    if (!admission) return { write: null, mode: 'old', mapping };
    const write = randomUUID();
    const timer = setTimeout(() => end(write), writeMs);
    timer.unref();
    writes.set(write, { collection: params.collection, mapping, admission, timer });
    const { route, waitedMs } = admission;
    return { write, mode: route.writeMode, mapping, epoch: route.epoch, waitedMs: Math.round(waitedMs), writeMs };
  });

  server.post<{ Params: { write: string } }>('/writes/:write/done', async ({ params, body }, reply) => {
    const begun = writes.get(params.write);
    if (!begun)
      return reply.code(404).send({
        error: 'No such write: it has ended, or took too long. Change capture brings what the old system has.',
      });
    try {
      const read = ended.safeParse(body ?? {});
      if (!read.success)
        return await reply.code(400).send({
          error: `The body must be {"ids": [_id, ...], "ms": 12.5, "failed": false} in Extended JSON. ${isOver}`,
        });
      const { epoch, writeMode } = begun.admission.route;
      const its = parts();
      its?.metrics.countWrites(begun.mapping, writeMode === 'new_system' ? 'new' : 'old', 1, read.data.failed ? 1 : 0);
      if (writeMode === 'dual_write') await its?.manager.secondWrite(begun.collection, read.data.ids.map(idOf), epoch);
      return {};
    } finally {
      end(params.write);
    }
  });

  server.addHook('onClose', () => [...writes.keys()].forEach(end));
  server.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    // A body that cannot be read, or is too large, ends its write all the same: whoever sent it will not come again.
    const write = /^\/writes\/([^/?]+)\/done/.exec(request.url)?.[1];
    const over = write !== undefined && writes.has(write) ? ` ${isOver}` : '';
    if (write !== undefined) end(write);
    const busy = error instanceof KnownFailure && error.type === 'StoreBusy';
    const known = busy || (error.statusCode ?? 500) < 500;
    return reply
      .code(busy ? 503 : (error.statusCode ?? 500))
      .send({ error: known ? `${error.message}${over}` : 'The sidecar failed; nothing was written by it.' });
  });
  return server;
}

const isOver = 'The write counts as ended; change capture brings what the old system has.';

const unknown = (reply: FastifyReply, names: ReadonlyMap<string, string>): FastifyReply =>
  reply
    .code(404)
    .send({ error: `No collection of the migration has this name. Known: ${[...names.keys()].join(', ')}.` });

/** A page in a browser of this host can send requests here: it does so under a name of its own, or says where it is from. */
function refusalOf({ url, headers }: FastifyRequest, token: string): { code: number; error: string } | undefined {
  const host = (headers.host ?? '').replace(/:\d+$/, '');
  if (!['127.0.0.1', 'localhost', '[::1]'].includes(host))
    return { code: 403, error: 'The sidecar answers to 127.0.0.1 and localhost only.' };
  if (headers.origin !== undefined || headers['sec-fetch-site'] !== undefined)
    return { code: 403, error: 'The sidecar does not answer to web pages.' };
  if (url === '/health') return undefined;
  const given = Buffer.from(headers.authorization ?? '');
  const wanted = Buffer.from(`Bearer ${token}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted)
    ? undefined
    : {
        code: 401,
        error:
          'The token is missing or another: send `Authorization: Bearer TOKEN`; the command printed the file it stands in.',
      };
}

/** Of an `_id` in canonical Extended JSON its very bytes, which a decoded form may not have: 5 of 64 bits, a date that is none to JavaScript. */
const idOf = (id: unknown): string =>
  sourceId(idFromSourceId(JSON.stringify(id)) ?? EJSON.deserialize({ id } as never, { relaxed: false })['id']);
