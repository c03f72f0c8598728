// Documents inserted as the bytes they are, over the wire protocol itself: a driver would write its own form of them.
import { connect } from 'node:net';
import { deserialize, serialize } from 'bson';

const opMsg = 2013;

/** `url`: of a server without authentication, the database in its path. Documents stand in a section of their own, so that the server takes them undecoded. */
export async function insertBytes(url: string, collection: string, documents: readonly Uint8Array[]): Promise<void> {
  const { hostname, port, pathname } = new URL(url.replace(/^mongodb:/, 'http:'));
  const body = serialize({
    insert: collection,
    ordered: false,
    $db: pathname.slice(1),
    bypassEmptyTsReplacement: true,
  });
  const name = Buffer.from('documents\u0000');
  const length = Buffer.alloc(4);
  length.writeInt32LE(4 + name.length + documents.reduce((sum, one) => sum + one.byteLength, 0));
  const sections = [Buffer.from([0]), body, Buffer.from([1]), length, name, ...documents];
  const head = Buffer.alloc(20);
  head.writeInt32LE(20 + sections.reduce((sum, one) => sum + one.byteLength, 0), 0);
  head.writeInt32LE(1, 4);
  head.writeInt32LE(opMsg, 12);
  const reply = await exchange(hostname, Number(port), Buffer.concat([head, ...sections]));
  const { n, writeErrors } = deserialize(reply.subarray(21)) as { n?: number; writeErrors?: unknown[] };
  if (n !== documents.length) throw new Error(`inserted ${n} of ${documents.length}: ${JSON.stringify(writeErrors)}`);
}

function exchange(host: string, port: number, message: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => socket.write(message));
    let received = Buffer.alloc(0);
    socket.on('data', (part) => {
      received = Buffer.concat([received, part]);
      if (received.length >= 4 && received.length >= received.readInt32LE()) {
        socket.end();
        resolve(received);
      }
    });
    socket.on('error', reject);
  });
}
