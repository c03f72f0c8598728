// A server that speaks MongoDB's wire protocol and says what a test tells it to: error codes, labels and tokens that the embedded server never gives.
import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { deserialize, Long, serialize, Timestamp, type Document } from 'bson';

const opMsg = 2013;
const opReply = 1;
const headBytes = 16;
/** Of OP_MSG: the message ends in a checksum. */
const hasChecksum = 1;

/** The reply to a command, or undefined: the peer's own. An error is `failure(...)`; `'hang up'` closes the connection. */
export type Answer = (command: Document, name: string) => Document | 'hang up' | undefined;

/** As a server reports it. */
export const failure = (code: number, codeName: string, errorLabels: readonly string[] = []): Document => ({
  ok: 0,
  code,
  codeName,
  errmsg: `scripted: ${codeName}`,
  ...(errorLabels.length > 0 && { errorLabels: [...errorLabels] }),
});

export interface PeerOptions {
  /** It presents itself as a mongos. */
  readonly isdbgrid?: boolean;
  readonly maxWireVersion?: number;
}

export class WirePeer {
  readonly url: string;
  /** Every command that came, in order; the handshakes, too. */
  readonly commands: Document[] = [];
  /** What is asked first; tests set it. */
  answer: Answer;
  /** Seconds and increment that replies carry. */
  time = new Timestamp({ t: Math.floor(Date.now() / 1000), i: 1 });
  readonly #server: Server;
  readonly #sockets: Set<Socket>;
  readonly #options: PeerOptions;

  private constructor(server: Server, sockets: Set<Socket>, answer: Answer, options: PeerOptions) {
    this.#server = server;
    this.#sockets = sockets;
    this.#options = options;
    this.answer = answer;
    const { port } = server.address() as { port: number };
    this.url = `mongodb://127.0.0.1:${port}/scripted?directConnection=true&retryReads=false&retryWrites=false`;
  }

  static async listen(answer: Answer = () => undefined, options: PeerOptions = {}): Promise<WirePeer> {
    const sockets = new Set<Socket>();
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const peer = new WirePeer(server, sockets, answer, options);
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => undefined);
      peer.#serve(socket);
    });
    return peer;
  }

  /** How often a command came. */
  count(name: string): number {
    return this.commands.filter((command) => Object.keys(command)[0] === name).length;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(socket: Socket): void {
    let pending = Buffer.alloc(0);
    socket.on('data', (data) => {
      pending = Buffer.concat([pending, data]);
      while (pending.byteLength >= 4 && pending.byteLength >= pending.readInt32LE(0)) {
        const message = pending.subarray(0, pending.readInt32LE(0));
        pending = pending.subarray(message.byteLength);
        this.#reply(socket, message);
      }
    });
  }

  #reply(socket: Socket, message: Buffer): void {
    const request = message.readInt32LE(4);
    const kind = message.readInt32LE(12);
    const command = kind === opMsg ? fromMessage(message) : fromQuery(message);
    this.commands.push(command);
    const name = Object.keys(command)[0]!;
    const answer = this.answer(command, name) ?? this.#own(name);
    if (answer === 'hang up') return void socket.destroy();
    const body = serialize({ operationTime: this.time, $clusterTime: { clusterTime: this.time }, ...answer });
    socket.write(kind === opMsg ? asMessage(request, body) : asReply(request, body));
  }

  /** What a server without any data says. */
  #own(name: string): Document {
    if (['hello', 'isMaster', 'ismaster'].includes(name)) return this.hello();
    if (['ping', 'endSessions', 'killCursors', 'abortTransaction', 'commitTransaction'].includes(name))
      return { ok: 1 };
    if (['aggregate', 'find', 'listCollections', 'listIndexes'].includes(name))
      return { ok: 1, cursor: { id: Long.ZERO, ns: 'scripted.none', firstBatch: [] } };
    return failure(59, 'CommandNotFound');
  }

  /** How it presents itself. */
  hello(): Document {
    const { host } = new URL(this.url.replace('mongodb:', 'http:'));
    return {
      ok: 1,
      isWritablePrimary: true,
      ismaster: true,
      helloOk: true,
      ...(this.#options.isdbgrid
        ? { msg: 'isdbgrid' }
        : { setName: 'scripted', hosts: [host], me: host, primary: host, secondary: false }),
      maxBsonObjectSize: 16 * 1024 * 1024,
      maxMessageSizeBytes: 48_000_000,
      maxWriteBatchSize: 100_000,
      logicalSessionTimeoutMinutes: 30,
      minWireVersion: 0,
      maxWireVersion: this.#options.maxWireVersion ?? 21,
      localTime: new Date(),
    };
  }
}

/** Section 0 is the command; sections of kind 1 are arrays of it. */
function fromMessage(message: Buffer): Document {
  const end = message.byteLength - ((message.readInt32LE(headBytes) & hasChecksum) === 0 ? 0 : 4);
  let command: Document = {};
  const arrays: Document = {};
  for (let at = headBytes + 4; at < end;) {
    const kind = message[at++];
    const size = message.readInt32LE(at);
    const section = message.subarray(at, at + size);
    at += size;
    if (kind === 0) command = deserialize(section);
    else {
      const nameEnd = section.indexOf(0, 4);
      const documents: Document[] = [];
      for (let inner = nameEnd + 1; inner < size;) {
        const length = section.readInt32LE(inner);
        documents.push(deserialize(section.subarray(inner, inner + length)));
        inner += length;
      }
      arrays[section.toString('utf8', 4, nameEnd)] = documents;
    }
  }
  return { ...command, ...arrays };
}

/** Only the handshake still comes so: flags, collection, skip, return, command. */
function fromQuery(message: Buffer): Document {
  const nameEnd = message.indexOf(0, headBytes + 4);
  return deserialize(message.subarray(nameEnd + 1 + 8));
}

function head(size: number, request: number, kind: number): Buffer {
  const buffer = Buffer.alloc(headBytes);
  buffer.writeInt32LE(headBytes + size, 0);
  buffer.writeInt32LE(request, 8);
  buffer.writeInt32LE(kind, 12);
  return buffer;
}

const asMessage = (request: number, body: Uint8Array): Buffer =>
  Buffer.concat([head(body.byteLength + 5, request, opMsg), Buffer.from([0, 0, 0, 0, 0]), body]);

function asReply(request: number, body: Uint8Array): Buffer {
  const fields = Buffer.alloc(20);
  fields.writeInt32LE(1, 16);
  return Buffer.concat([head(body.byteLength + 20, request, opReply), fields, body]);
}
