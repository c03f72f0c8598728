// Why Temporal cannot be reached, in the line's own words: the clients say little more than that a time has passed.
import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import type { TemporalSettings } from './temporal.ts';

const patienceMs = 3000;
/** What every client of HTTP/2 says first: a fixed greeting, and settings, here none. The server's first frame is its settings, kind 4. */
const greeting = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);
const kindAt = 3;
const settingsKind = 4;

/** Asks as the clients do, once. undefined: HTTP/2 is spoken there. */
export async function faultOfLine(
  settings: Pick<TemporalSettings, 'address' | 'options'>,
): Promise<string | undefined> {
  const socket = open(settings);
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<string | undefined>((resolve) => {
      timer = setTimeout(resolve, patienceMs, 'it takes the connection and says nothing');
      socket.once('data', (said: Buffer) =>
        resolve(said[kindAt] === settingsKind ? undefined : 'what answers there is no gRPC server'),
      );
      socket.once('error', (error) => resolve(inWords(error)));
      socket.once('close', () => resolve('it closes the connection'));
      socket.write(greeting);
    });
  } finally {
    clearTimeout(timer);
    socket.on('error', () => undefined).destroy();
  }
}

/** Of what OpenSSL says, the part that says something. */
function inWords({ message }: Error): string {
  return /SSL routines:[^:]*:([^:]+)/.exec(message)?.[1] ?? message.split('\n', 1)[0]!;
}

function open({ address, options }: Pick<TemporalSettings, 'address' | 'options'>): Socket {
  const [, host, port] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(address)!;
  const at = { host: host!, port: Number(port ?? 7233) };
  if (!options.tls) return connectPlain(at);
  const { serverRootCACertificate, clientCertPair, serverNameOverride } = options.tls === true ? {} : options.tls;
  return connectSecurely({
    ...at,
    ALPNProtocols: ['h2'],
    ...(serverRootCACertificate && { ca: Buffer.from(serverRootCACertificate) }),
    ...(clientCertPair && { cert: Buffer.from(clientCertPair.crt), key: Buffer.from(clientCertPair.key) }),
    ...(serverNameOverride && { servername: serverNameOverride }),
  });
}
