// A timestamp of zeros in a field of the document itself, against peers that speak MongoDB's protocol: one that can be told to keep it, one that cannot.
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { deserialize, serialize } from 'bson';
import { MongoClient } from 'mongodb';
import { afterEach, expect, test } from 'vitest';
import { insertRaw, replaceRaw } from '../../stores/mongodb/raw-write.ts';
import { documentOf, of } from '../support/bson-bytes.ts';

type Command = Record<string, unknown>;
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

/** A server that answers each command by `answer`, and what it was asked. */
async function peer(answer: (command: Command) => Command) {
  const asked: Command[] = [];
  const server: Server = createServer((socket: Socket) => {
    let received = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (part) => {
      received = Buffer.concat([received, part]);
      while (received.length >= 4 && received.length >= received.readInt32LE()) {
        const message = received.subarray(0, received.readInt32LE());
        received = received.subarray(message.length);
        const body = message.subarray(21, 21 + message.readInt32LE(21));
        const command = deserialize(body) as Command;
        asked.push(command);
        socket.write(reply(message.readInt32LE(4), command['hello'] ? hello : answer(command)));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push({ close: () => new Promise((resolve) => server.close(resolve)) });
  const { port } = server.address() as AddressInfo;
  const client = new MongoClient(`mongodb://127.0.0.1:${port}/x?directConnection=true`, { serverApi: '1' });
  open.push(client);
  return { db: client.db(), writes: () => asked.filter((one) => 'insert' in one || 'update' in one) };
}

const hello = {
  ok: 1,
  isWritablePrimary: true,
  maxWireVersion: 21,
  minWireVersion: 0,
  maxBsonObjectSize: 16777216,
  maxMessageSizeBytes: 48000000,
  maxWriteBatchSize: 100000,
};

function reply(to: number, document: Command): Buffer {
  const body = serialize(document);
  const head = Buffer.alloc(21);
  head.writeInt32LE(21 + body.length, 0);
  head.writeInt32LE(to, 8);
  head.writeInt32LE(2013, 12);
  return Buffer.concat([head, body]);
}

const empty = documentOf([
  ['_id', of.int(1)],
  ['at', of.timestamp(0, 0)],
]);
const plain = documentOf([
  ['_id', of.timestamp(0, 0)],
  ['in', of.object(['at', of.timestamp(0, 0)])],
  ['at', of.timestamp(1, 0)],
]);

test('a server that knows how is told to keep it, and only where there is one', async () => {
  const { db, writes } = await peer(() => ({ ok: 1, n: 1 }));
  await insertRaw(db, 'c', [plain]);
  expect(writes()).toHaveLength(1);
  expect(writes()[0]).not.toHaveProperty('bypassEmptyTsReplacement');
  await insertRaw(db, 'c', [plain, empty]);
  await replaceRaw(db, 'c', [{ id: 1, bytes: empty }], { bypassDocumentValidation: true });
  const [, probe, insert, update] = writes();
  expect(probe).toMatchObject({ update: 'c', updates: [{ q: { _id: { $in: [] } } }] });
  expect(insert).toMatchObject({ insert: 'c', bypassEmptyTsReplacement: true });
  expect(update).toMatchObject({ update: 'c', bypassEmptyTsReplacement: true, bypassDocumentValidation: true });
});

test('a server that would put its own time there is not given the document', async () => {
  const { db, writes } = await peer((command) =>
    'bypassEmptyTsReplacement' in command
      ? { ok: 0, code: 40415, codeName: 'Location40415', errmsg: 'BSON field is an unknown field' }
      : { ok: 1, n: 1 },
  );
  await expect(insertRaw(db, 'c', [empty])).rejects.toMatchObject({
    type: 'TargetConflict',
    message: expect.stringContaining('bypassEmptyTsReplacement'),
  });
  await insertRaw(db, 'c', [plain]);
  expect(writes().filter((one) => 'insert' in one)).toHaveLength(1);
});
