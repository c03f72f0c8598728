// Where messages of a store's protocol begin and end in a stream of bytes, as far as a line between client and server has to know it.

export type Protocol = 'mongodb' | 'postgres' | 'redis' | 'temporal';

/** Bytes that go on together. */
export interface Unit {
  readonly bytes: Buffer;
  /** Of a client: asks for something that the product asked for, not the driver for itself. Of a server: the answer is complete. */
  readonly whole: boolean;
  /** By which request and answer find each other, where the protocol has one. Without it they come in order. */
  readonly id?: number;
  /** What it is, for people. */
  readonly what: string;
}

/** Takes bytes as they come; gives those that are complete. */
export type Framer = (bytes: Buffer) => Unit[];

interface Frame {
  /** Where it ends, or -1: more bytes are needed. */
  readonly end: number;
}

function framer(next: (buffer: Buffer, at: number) => Frame & Omit<Unit, 'bytes'>): Framer {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    const units: Unit[] = [];
    let at = 0;
    while (at < rest.length) {
      const { end, ...unit } = next(rest, at);
      if (end < 0 || end > rest.length) break;
      units.push({ ...unit, bytes: rest.subarray(at, end) });
      at = end;
    }
    rest = rest.subarray(at);
    return units;
  };
}

const more = { end: -1, whole: false, what: '' } as const;

/** What drivers say to servers by themselves, whenever they like: a count of messages does not hold it. */
const ownCommands = new Set(['hello', 'ismaster', 'isMaster', 'endSessions', 'killCursors']);
const opMsg = 2013;

const mongoSide = (isClient: boolean): Framer =>
  framer((buffer, at) => {
    if (buffer.length - at < 4) return more;
    const end = at + buffer.readInt32LE(at);
    if (end > buffer.length) return more;
    if (!isClient) return { end, whole: true, id: buffer.readInt32LE(at + 8), what: 'answer' };
    const isCommand = buffer.readInt32LE(at + 12) === opMsg;
    // Header, flags, kind of section, size of the document, type of its first element.
    const name = isCommand ? buffer.toString('latin1', at + 26, buffer.indexOf(0, at + 26)) : 'hello';
    const what = isCommand ? commandText(buffer.subarray(at + 25, end), name) : name;
    return { end, whole: !ownCommands.has(name), id: buffer.readInt32LE(at + 4), what };
  });

/** A command, whether it is about a collection, and whether it belongs to a transaction. */
const commandText = (elements: Buffer, name: string): string =>
  `${name}${elements[0] === bsonString ? '' : ' 1'}${elements.includes('autocommit') ? ' in a transaction' : ''}`;
const bsonString = 2;

/** A query, the end of a pipeline of messages, the end of a COPY. */
const endsRequest = new Set(['Q', 'S', 'c', 'f']);
/** Ready for the next query, or for the rows of a COPY. */
const endsAnswer = new Set(['Z', 'G']);

function postgresClient(): Framer {
  let isStartup = true;
  return framer((buffer, at) => {
    if (isStartup) {
      if (buffer.length - at < 4) return more;
      const end = at + buffer.readInt32BE(at);
      if (end <= buffer.length) isStartup = false;
      return { end, whole: false, what: 'startup' };
    }
    for (let next = at; next + 5 <= buffer.length;) {
      const kind = String.fromCharCode(buffer[next]!);
      const end = next + 1 + buffer.readInt32BE(next + 1);
      if (end > buffer.length) return more;
      if (endsRequest.has(kind)) return { end, whole: true, what: sqlOf(buffer.subarray(at, end)) };
      if (['d', 'X', 'p', 'H'].includes(kind)) return { end, whole: false, what: kind };
      next = end;
    }
    return more;
  });
}

/** The first statement of a request, without its values and names of tables. */
function sqlOf(unit: Buffer): string {
  const kind = String.fromCharCode(unit[0]!);
  const first = unit.indexOf(0, 5);
  // A statement that was prepared before has only its name here.
  const text =
    kind === 'P' ? unit.toString('latin1', first + 1, unit.indexOf(0, first + 1)) : unit.toString('latin1', 5, first);
  const shown = text
    .replace(/'[^']*'/g, "'?'")
    .replace(/"[^"]*"/g, '"?"')
    .replace(/("\?"|\$?\d+|'\?')(, ("\?"|\$?\d+|'\?'))+/g, '$1, …')
    .replace(/\d+/g, '#')
    .replace(/\s+/g, ' ')
    .trim();
  return `${kind} ${shown}`.slice(0, 400);
}

const postgresServer = (): Framer =>
  framer((buffer, at) => {
    let last = -1;
    for (let next = at; next + 5 <= buffer.length;) {
      const kind = String.fromCharCode(buffer[next]!);
      const end = next + 1 + buffer.readInt32BE(next + 1);
      if (end > buffer.length) break;
      if (endsAnswer.has(kind)) return { end, whole: true, what: 'answer' };
      last = end;
      next = end;
    }
    return last < 0 ? more : { end: last, whole: false, what: 'part' };
  });

/** Where a value of Redis's protocol ends. */
function valueEnd(buffer: Buffer, at: number): number {
  const line = buffer.indexOf('\r\n', at);
  if (line < 0) return -1;
  const kind = String.fromCharCode(buffer[at]!);
  const size = Number(buffer.toString('latin1', at + 1, line));
  if (['$', '!', '='].includes(kind)) return size < 0 ? line + 2 : line + 2 + size + 2;
  if (!['*', '~', '>', '%', '|'].includes(kind)) return line + 2;
  let end = line + 2;
  for (let left = size * (kind === '%' || kind === '|' ? 2 : 1); left > 0; left--) {
    if (end >= buffer.length) return -1;
    end = valueEnd(buffer, end);
    if (end < 0) return -1;
  }
  return end;
}

const ownToRedis = new Set(['INFO', 'CLIENT', 'SELECT', 'HELLO', 'AUTH', 'QUIT', 'CLUSTER']);

const redisSide = (isClient: boolean): Framer =>
  framer((buffer, at) => {
    const end = valueEnd(buffer, at);
    if (end < 0 || end > buffer.length) return more;
    if (!isClient) return { end, whole: true, what: 'answer' };
    const [, , name = '', , first = ''] = buffer.toString('latin1', at, end).trim().split('\r\n');
    const command = name.toUpperCase();
    // Of a script its digest.
    const what = command.startsWith('EVAL') ? `${command} ${first.split('\n').join(' ').slice(0, 40)}` : command;
    return { end, whole: !ownToRedis.has(command), what };
  });

const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

/** gRPC on HTTP/2: frames of many calls on one line; of them those that carry calls count. */
function temporalSide(isClient: boolean): Framer {
  let isFirst = isClient;
  return framer((buffer, at) => {
    if (isFirst) {
      if (buffer.length - at < preface.length) return more;
      isFirst = false;
      return { end: at + preface.length, whole: false, what: 'preface' };
    }
    if (buffer.length - at < 9) return more;
    const kind = buffer[at + 3]!;
    const end = at + 9 + buffer.readUIntBE(at, 3);
    if (kind > 1) return { end, whole: false, what: 'other' };
    return { end, whole: true, id: buffer.readUInt32BE(at + 5) & 0x7fffffff, what: kind === 1 ? 'headers' : 'data' };
  });
}

export const framersOf: Record<Protocol, () => { readonly client: Framer; readonly server: Framer }> = {
  mongodb: () => ({ client: mongoSide(true), server: mongoSide(false) }),
  postgres: () => ({ client: postgresClient(), server: postgresServer() }),
  redis: () => ({ client: redisSide(true), server: redisSide(false) }),
  temporal: () => ({ client: temporalSide(true), server: temporalSide(false) }),
};
