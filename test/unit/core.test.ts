// The rules: chunks, the story and its undo, orders, identities, failures, secrets.
import { EJSON, Int32, Long, ObjectId } from 'bson';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chunkCount } from '../../core/chunks.ts';
import { failures, notRetryable } from '../../core/failures.ts';
import { idFromSourceId, sourceId } from '../../core/identity.ts';
import { abortOrder, cutoverOrder, readOrder } from '../../core/orders.ts';
import { isSecretName, redact } from '../../core/redact.ts';
import { phases, stepsBackTo, writeAhead, type UndoStep } from '../../core/story.ts';
import { tile } from '../../stores/mongodb/ranges.ts';

test('an identity keeps its type: an ObjectId and its hex text are two', () => {
  const hex = '68f9e12fc0958945793f6065';
  expect(sourceId(new ObjectId(hex))).toBe(hex);
  expect(sourceId(hex)).toBe(`"${hex}"`);
  for (const id of [
    new ObjectId(),
    'text',
    '"quoted"',
    new Int32(7),
    Long.fromString('9007199254740993'),
    { a: new Int32(1) },
    true,
  ]) {
    expect(EJSON.stringify({ id: idFromSourceId(sourceId(id)) }, { relaxed: false })).toBe(
      EJSON.stringify({ id }, { relaxed: false }),
    );
  }
});

test('two different identities never have one text', () => {
  const id = fc.oneof(
    fc.string(),
    fc.integer().map((n) => new Int32(n | 0)),
    fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => new ObjectId(bytes)),
  );
  fc.assert(
    fc.property(
      id,
      id,
      (a, b) =>
        (sourceId(a) === sourceId(b)) ===
        (EJSON.stringify({ v: a }, { relaxed: false }) === EJSON.stringify({ v: b }, { relaxed: false })),
    ),
  );
});

test('ranges tile the whole key space: each begins where the last ends', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string()), (keys) => {
      const ranges = tile(keys);
      expect(ranges[0]!.after).toBeNull();
      expect(ranges.at(-1)!.upTo).toBeNull();
      for (const [i, range] of ranges.slice(1).entries()) expect(range.after).toBe(ranges[i]!.upTo);
    }),
  );
});

test('chunks: at least one, fewer where opening a range is dear, and what the operator asks for', () => {
  fc.assert(
    fc.property(
      fc.nat(50_000_000),
      fc.nat(1_000_000),
      fc.double({ min: 0, max: 60_000, noNaN: true }),
      fc.integer({ min: 1, max: 64 }),
      (documents, averageBytes, openMs, parallelism) => {
        const cheap = chunkCount({ documents, averageBytes, openMs: 0 }, parallelism);
        const dear = chunkCount({ documents, averageBytes, openMs }, parallelism);
        expect(dear).toBeGreaterThanOrEqual(1);
        expect(dear).toBeLessThanOrEqual(
          Math.max(cheap, Math.ceil(documents / 500_000), Math.ceil((documents * averageBytes) / 2 ** 29)),
        );
      },
    ),
  );
  expect(chunkCount({ documents: 200_000, averageBytes: 260, openMs: 1 }, 4)).toBeGreaterThan(4);
  expect(chunkCount({ documents: 200_000, averageBytes: 260, openMs: 5000 }, 4)).toBe(1);
  expect(chunkCount({ documents: 10_500, averageBytes: 260, openMs: 1 }, 4, 1000)).toBe(11);
});

test('undo is written once per phase, and taken newest first back to a checkpoint', () => {
  let log: UndoStep[] = [];
  for (const phase of [...phases, 'data', 'data'] as const) log = writeAhead(log, phase);
  expect(log.map((step) => step.undo)).toEqual([...phases]);
  expect(stepsBackTo(log, undefined).map((step) => step.undo)).toEqual(['cutover', 'data', 'schema', 'preparation']);
  expect(stepsBackTo(log, 'schema').map((step) => step.undo)).toEqual(['cutover', 'data']);
  expect(stepsBackTo(log, 'cutover')).toEqual([]);
});

test('no payload throws: it is an order or a refusal that says what would be right', () => {
  fc.assert(
    fc.property(fc.anything(), (payload) => {
      const read = readOrder(cutoverOrder, payload, '{"percentage": 50}');
      if ('order' in read)
        expect(
          Number.isInteger(read.order.percentage) && read.order.percentage >= 0 && read.order.percentage <= 100,
        ).toBe(true);
      else expect(read.refusal).toContain('{"percentage": 50}');
    }),
  );
  expect(readOrder(abortOrder, undefined, 'x')).toHaveProperty('refusal');
});

test('every failure says what to do, and what is not retryable is one list', () => {
  for (const [type, its] of Object.entries(failures)) {
    expect(its.advice.length, type).toBeGreaterThan(10);
    expect(notRetryable.includes(type as never)).toBe(!its.retryable);
  }
});

test.each([
  'password',
  'hashed_password',
  'apiKey',
  'API_SECRET',
  'llm.api-key',
  'dashscope_api_key_m12',
  'accessToken',
  'token',
  'privateKey',
  'credentials',
])('%s is a secret', (name) => expect(isSecretName(name)).toBe(true));
test.each([
  'input_tokens',
  'output_tokens',
  'tokens_used',
  'max_tokens',
  'key',
  'username',
  'session_id',
  'keyword',
  'max_token',
])('%s is none', (name) => expect(isSecretName(name)).toBe(false));

test('redaction goes as deep as the value and leaves the rest alone', () => {
  const value = {
    a: [{ api_key: 'sk-1', name: 'x' }],
    key: 'openai_api_key',
    value: 'sk-2',
    has_api_key: true,
    password: '',
    tokens_used: 3,
  };
  expect(redact(value)).toEqual({
    a: [{ api_key: '[redacted]', name: 'x' }],
    key: 'openai_api_key',
    value: '[redacted]',
    has_api_key: true,
    password: '',
    tokens_used: 3,
  });
});
