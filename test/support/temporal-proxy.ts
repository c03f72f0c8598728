// A line to Temporal as clusters have it: TLS with a client's certificate demanded, services that are refused, and a record of what arrives.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import {
  connect,
  constants,
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Certificates } from './certificates.ts';
import { ipv6 } from './stock.ts';

export interface TemporalProxy {
  readonly port: number;
  readonly address: string;
  /** Headers of each call, in order. */
  readonly calls: readonly IncomingHttpHeaders[];
  /** Calls of this service are answered with PERMISSION_DENIED from now on. */
  refuse(service: string): void;
  stop(): Promise<void>;
}

const permissionDenied = '7';

/** In front of `address`, on IPv6 where the machine has it. With certificates it takes nobody without one. */
export async function temporalProxy(address: string, tls?: Certificates): Promise<TemporalProxy> {
  const refused = new Set<string>();
  const calls: IncomingHttpHeaders[] = [];
  const sessions = new Set<{ destroy(): void }>();
  const behind = connect(`http://${address}`);
  behind.on('error', () => undefined);
  const server: Http2Server = tls
    ? (createSecureServer({
        cert: await readFile(tls.cert),
        key: await readFile(tls.key),
        ca: await readFile(tls.ca),
        requestCert: true,
        rejectUnauthorized: true,
      }) as Http2Server)
    : createServer();
  server.on('session', (session) => sessions.add(session));
  server.on('stream', (stream, headers) => {
    calls.push(headers);
    stream.on('error', () => undefined);
    const service = String(headers[':path']).split('/')[1]?.split('.').at(-1) ?? '';
    if (!refused.has(service)) return forward(stream, headers);
    const answer = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': permissionDenied };
    stream.respond({ ...answer, 'grpc-message': 'Request unauthorized.' }, { endStream: true });
  });

  function forward(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const { authorization: _, ...onward } = headers;
    const request = behind.request(onward);
    let trailers: IncomingHttpHeaders = {};
    request.on('error', () => stream.destroy());
    stream.on('close', () => request.close(constants.NGHTTP2_CANCEL));
    request.on('trailers', (given) => (trailers = given));
    request.on('response', (given, flags) => {
      if (stream.destroyed) return;
      if (flags & constants.NGHTTP2_FLAG_END_STREAM) return stream.respond(given, { endStream: true });
      stream.on('wantTrailers', () => stream.sendTrailers(trailers));
      stream.respond(given, { waitForTrailers: true });
      request.pipe(stream);
    });
    stream.pipe(request);
  }

  server.listen(0, ipv6 ? '::1' : '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    address: `${ipv6 ? '[::1]' : '127.0.0.1'}:${port}`,
    calls,
    refuse: (service) => void refused.add(service),
    stop: async () => {
      for (const session of sessions) session.destroy();
      behind.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What a client of one with certificates sets. */
export const reaching = (proxy: TemporalProxy, tls: Certificates, key: string) => ({
  TEMPORAL_ADDRESS: proxy.address,
  TEMPORAL_TLS_SERVER_CA_CERT_PATH: tls.ca,
  TEMPORAL_TLS_CLIENT_CERT_PATH: tls.client.cert,
  TEMPORAL_TLS_CLIENT_KEY_PATH: tls.client.key,
  // The address is one of IPv6 where there is one.
  TEMPORAL_TLS_SERVER_NAME: 'localhost',
  TEMPORAL_API_KEY: key,
});
