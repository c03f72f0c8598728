// A line to a server that knows its protocol's messages and does something wrong with one of them: with which, and what, a test decides.
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { framersOf, type Protocol, type Unit } from './framing.ts';

/**
 * `cut-before`: the request never reaches the server. `cut-after`: the server has done it, and the client does not learn of it. `cut-in-request`,
 * `cut-in-answer`: the connection is reset in the middle of the message. `slow`: answered late, but answered. `silent`: the server has done it, the
 * connection stays, and no answer comes before `release` (then it comes late). `half-open`: the server sees the connection end, the client does not.
 */
export const faults = [
  'cut-before',
  'cut-after',
  'cut-in-request',
  'cut-in-answer',
  'slow',
  'silent',
  'half-open',
] as const;
export type Fault = (typeof faults)[number];
/** Of them those that a client learns of at once. */
export const loudFaults = ['cut-before', 'cut-after', 'cut-in-request', 'cut-in-answer', 'slow'] as const;

export interface Asked {
  /** Which of the requests since `watch` began to count: 1 is the first. */
  readonly number: number;
  readonly what: string;
}

/** What becomes of a request. */
export type Decide = (asked: Asked) => Fault | undefined;

const slowMs = 150;

export class FaultyLine {
  readonly protocol: Protocol;
  #url = '';
  readonly #target: { readonly port: number; readonly host: string };
  readonly #connections = new Set<Connection>();
  #server: Server | undefined;
  #decide: Decide = () => undefined;
  #refusing = false;
  /** Requests counted, and what was done to them. */
  asked: string[] = [];
  done: { readonly fault: Fault; readonly what: string; readonly number: number }[] = [];

  private constructor(protocol: Protocol, host: string, port: number) {
    this.protocol = protocol;
    this.#target = { host, port };
  }

  /** `address`: a URL, or host:port as Temporal's. */
  static async open(protocol: Protocol, address: string): Promise<FaultyLine> {
    const isUrl = address.includes('://');
    const url = new URL(isUrl ? address : `tcp://${address}`);
    const line = new FaultyLine(protocol, url.hostname, Number(url.port));
    const port = await new Promise<number>((resolve) => {
      line.#server = createServer({ noDelay: true }, (socket) => line.#serve(socket)).listen(0, '127.0.0.1', () =>
        resolve((line.#server!.address() as { port: number }).port),
      );
    });
    url.hostname = '127.0.0.1';
    url.port = String(port);
    line.#url = isUrl ? url.href : `127.0.0.1:${port}`;
    return line;
  }

  get url(): string {
    return this.#url;
  }

  /** From now on requests are counted anew, and `decide` says what becomes of each. */
  watch(decide: Decide = () => undefined): void {
    this.asked = [];
    this.done = [];
    this.#decide = decide;
  }

  /** Answers that were kept back arrive. */
  release(): void {
    for (const connection of this.#connections) connection.release();
  }

  /** Ends all connections, and lets none be made until `mend`. */
  refuse(): void {
    this.#refusing = true;
    for (const connection of this.#connections) connection.end();
  }

  mend(): void {
    this.#refusing = false;
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.end();
    await new Promise((resolve) => this.#server!.close(resolve));
  }

  #serve(socket: Socket): void {
    if (this.#refusing) return void socket.resetAndDestroy();
    const connection = new Connection(socket, connect({ ...this.#target, noDelay: true }), this.protocol, (unit) => {
      if (!unit.whole) return undefined;
      this.asked.push(unit.what);
      const asked = { number: this.asked.length, what: unit.what };
      const fault = this.#decide(asked);
      if (fault) this.done.push({ fault, ...asked });
      return fault;
    });
    this.#connections.add(connection);
    connection.whenEnded(() => this.#connections.delete(connection));
  }
}

/** Client and server, and what was decided for the requests that are under way. */
class Connection {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #byId: boolean;
  /** In order, or by id where the protocol has ids. */
  #decided: { readonly id: number | undefined; readonly fault: Fault | undefined }[] = [];
  #toClient: Promise<unknown> = Promise.resolve();
  #kept: Buffer[] | undefined;
  #isDeaf = false;

  constructor(client: Socket, server: Socket, protocol: Protocol, decide: (unit: Unit) => Fault | undefined) {
    this.#client = client;
    this.#server = server;
    this.#byId = protocol === 'mongodb' || protocol === 'temporal';
    const frames = framersOf[protocol]();
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on('error', () => undefined);
      socket.on('close', () => {
        if (socket === server && this.#isDeaf) return;
        other.destroy();
      });
    }
    client.on('data', (part: Buffer) => {
      for (const unit of frames.client(part)) this.#request(unit, decide(unit));
    });
    server.on('data', (part: Buffer) => {
      for (const unit of frames.server(part)) this.#answer(unit);
    });
  }

  #request(unit: Unit, fault: Fault | undefined): void {
    if (this.#isDeaf) return;
    if (fault === 'cut-before') return this.end();
    if (fault === 'cut-in-request') {
      this.#server.write(unit.bytes.subarray(0, unit.bytes.length >> 1), () => this.end());
      return;
    }
    if (fault === 'half-open') {
      this.#isDeaf = true;
      this.#server.destroy();
      return;
    }
    // The parts of a COPY are answered by nobody.
    if (unit.whole || unit.id !== undefined || unit.what === 'startup') this.#decided.push({ id: unit.id, fault });
    this.#server.write(unit.bytes);
  }

  #answer(unit: Unit): void {
    const at = this.#byId ? this.#decided.findIndex((one) => one.id === unit.id) : 0;
    const fault = this.#decided[at]?.fault;
    if (unit.whole && at >= 0) this.#decided.splice(at, 1);
    if (fault === 'silent') this.#kept ??= [];
    if (this.#kept) return void this.#kept.push(unit.bytes);
    if (fault === 'cut-after') return unit.whole ? this.end() : undefined;
    if (fault === 'cut-in-answer') {
      this.#client.write(unit.bytes.subarray(0, unit.bytes.length >> 1), () => this.end());
      return;
    }
    const wait = fault === 'slow' && unit.whole ? slowMs : 0;
    // In order, also where one of them waits.
    this.#toClient = this.#toClient.then(async () => {
      if (wait > 0) await sleep(wait);
      if (!this.#client.destroyed) this.#client.write(unit.bytes);
    });
  }

  release(): void {
    const kept = this.#kept ?? [];
    // Nor is kept back what has not come yet.
    this.#decided = this.#decided.map(({ id, fault }) => ({ id, fault: fault === 'silent' ? undefined : fault }));
    this.#kept = undefined;
    for (const bytes of kept) if (!this.#client.destroyed) this.#client.write(bytes);
  }

  end(): void {
    this.#client.resetAndDestroy();
    this.#server.destroy();
  }

  whenEnded(then: () => void): void {
    this.#client.once('close', then);
  }
}
