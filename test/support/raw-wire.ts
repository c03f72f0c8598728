// Documents inserted as the bytes they are, over the wire protocol itself: a driver would write its own form of them.
import { connect } from 'node:net';
import { deserialize, serialize } from 'bson';

const opMsg = 2013;

/** `url`: of a server without authentication, the database in its path. Documents stand in a section of their own, so that the server takes them undecoded. */
export async function insertBytes(url: string, collection: string, documents: readonly Uint8Array[]): Promise<void> {
  const { n, writeErrors } = await send(url, { insert: collection }, 'documents', documents);
  if (n !== documents.length) throw new Error(`inserted ${n} of ${documents.length}: ${JSON.stringify(writeErrors)}`);
}

/** The same, of documents that the server may refuse, one or the whole command: which it did, by their place. */
export const offerBytes = (url: string, collection: string, documents: readonly Uint8Array[]): Promise<number[]> =>
  offer(url, { insert: collection }, 'documents', documents);

/** Documents replaced by bytes; which the server refused, by their place. `updates`: BSON of `{ q, u }`. */
export const updateBytes = (url: string, collection: string, updates: readonly Uint8Array[]): Promise<number[]> =>
  offer(url, { update: collection }, 'updates', updates);

async function offer(
  url: string,
  command: Record<string, string>,
  section: string,
  documents: readonly Uint8Array[],
): Promise<number[]> {
  try {
    const { writeErrors = [] } = await send(url, command, section, documents);
    return writeErrors.map((one) => one.index);
  } catch (error) {
    if (!(error instanceof CommandRefused)) throw error;
    if (documents.length === 1) return [0];
    // One of them has made the server refuse all.
    const half = documents.length >> 1;
    const [left, right] = [documents.slice(0, half), documents.slice(half)];
    const first = await offer(url, command, section, left);
    return [...first, ...(await offer(url, command, section, right)).map((index) => index + half)];
  }
}

class CommandRefused extends Error {}

interface Reply {
  readonly n?: number;
  readonly writeErrors?: readonly { readonly index: number }[];
  readonly errmsg?: string;
}

async function send(
  url: string,
  command: Record<string, string>,
  section: string,
  documents: readonly Uint8Array[],
): Promise<Reply> {
  if (documents.length === 0) return {};
  const { hostname, port, pathname } = new URL(url.replace(/^mongodb:/, 'http:'));
  const body = serialize({ ...command, ordered: false, $db: pathname.slice(1), bypassEmptyTsReplacement: true });
  const name = Buffer.from(`${section}\u0000`);
  const length = Buffer.alloc(4);
  length.writeInt32LE(4 + name.length + documents.reduce((sum, one) => sum + one.byteLength, 0));
  const sections = [Buffer.from([0]), body, Buffer.from([1]), length, name, ...documents];
  const head = Buffer.alloc(20);
  head.writeInt32LE(20 + sections.reduce((sum, one) => sum + one.byteLength, 0), 0);
  head.writeInt32LE(1, 4);
  head.writeInt32LE(opMsg, 12);
  const reply = await exchange(hostname, Number(port), Buffer.concat([head, ...sections]));
  const answer = deserialize(reply.subarray(21)) as Reply;
  if (answer.errmsg !== undefined) throw new CommandRefused(answer.errmsg);
  return answer;
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
