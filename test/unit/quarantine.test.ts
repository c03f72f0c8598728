// Quarantine without a server: redaction, encryption, readings of an id, types at a path, budget.
import { randomBytes } from 'node:crypto';
import { Double, EJSON, Int32, Long, ObjectId, serialize } from 'bson';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Shaper } from '../../activities/shape.ts';
import { Vault, VaultError, isSealed } from '../../control/vault.ts';
import { typeAt } from '../../core/bson-type.ts';
import { sourceId, sourceIdsOf } from '../../core/identity.ts';
import { judgeQuarantine } from '../../core/quarantine.ts';
import { isSecretName, redact } from '../../core/redact.ts';
import { loadMappings } from '../../mappings/registry.ts';

const mappings = await loadMappings();

test('a document set aside is JSON that PostgreSQL takes, whatever stands before a NUL', () => {
  const shaper = new Shaper(mappings.get('token_usage')!, 'token_usage', 1, Vault.from(undefined));
  const texts = ['\u0000', '\\u0000', '\\\u0000', '\\\\u0000', '\u0000\u0000', 'a\u0000\\\\\u0000'];
  for (const text of texts) {
    const document = { _id: new ObjectId(), text };
    const image = { id: 'x', version: { time: 1n, op: 0 }, bytes: serialize(document), document, reordered: false };
    const json = shaper.aside(image);
    // jsonb refuses an escape of NUL: an odd number of backslashes before u0000.
    expect([...json.matchAll(/(\\+)u0000/g)].every(([, slashes]) => slashes!.length % 2 === 0)).toBe(true);
    expect((JSON.parse(json) as { text: string }).text).toBe(text.replaceAll('\u0000', '\\u0000'));
  }
});

const secretName = fc
  .tuple(
    fc.constantFrom('', 'dashscope_', 'old-', 'my.', 'llm '),
    fc.constantFrom(
      'password',
      'hashed_password',
      'userPassword',
      'PASSWORD',
      'api_key',
      'apiKey',
      'APIKEY',
      'ApiKey',
      'SECRET_KEY',
      'secretkey',
      'clientSecret',
      'access_token',
      'refreshToken',
      'authtoken',
      'private-key',
      'credentials',
      'cookie',
      'ｐａｓｓｗｏｒｄ',
      '登录密码',
      '密钥',
    ),
    fc.constantFrom('', '_2', '.value'),
  )
  .map((parts) => parts.join(''));
const plainName = fc.constantFrom(
  'title',
  'input_tokens',
  'tokens_used',
  'session_id',
  'keyword',
  'note',
  'monkey',
  'key2',
);
const plain = fc.oneof(
  fc.constantFrom('plain', '600519', '', '贵州茅台'),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
);

/** Values that hide nothing, with one secret somewhere inside, in each of the forms it is met in. */
const withSecret = fc.tuple(fc.nat(6), secretName).chain(([form, name]) =>
  fc.uuid().chain((secret) => {
    const forms: unknown[] = [
      { [name]: secret },
      { [name]: { nested: [secret, 1] } },
      { key: name, value: secret },
      { k: name, v: secret },
      { config_name: name, config_value: secret },
      { text: JSON.stringify({ inner: { [name]: secret } }) },
      { url: `mongodb://user:${secret}@host:27017/db`, header: `Bearer ${secret}` },
    ];
    const depth = fc.array(fc.tuple(plainName, plain, fc.boolean()), { maxLength: 5 });
    return depth.map((levels) => ({
      secret,
      value: levels.reduce<unknown>(
        (inner, [outer, beside, list]) => ({ [outer]: list ? [beside, inner] : inner, beside }),
        forms[form],
      ),
    }));
  }),
);

test('no secret survives redaction, wherever and however it stands', () => {
  fc.assert(
    fc.property(withSecret, ({ secret, value }) => {
      const once = redact(value);
      expect(JSON.stringify(once)).not.toContain(secret);
      expect(redact(once)).toEqual(once);
    }),
    { numRuns: 2000 },
  );
});

test('what hides nothing is left as it is', () => {
  const tree = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      plain,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(plainName, tie('value'), { maxKeys: 4 }),
    ),
  })).value;
  fc.assert(fc.property(tree, (value) => void expect(redact(value)).toEqual(value)));
  for (const text of ['a = b', 'see https://host/path?x=1', 'ratio: 3', 'basic', '{not json', 'key: value'])
    expect(redact(text)).toBe(text);
});

test.each([
  ['password=hunter2, next', 'password=[redacted], next'],
  ['api_key: "sk-1 2"; rest', 'api_key: [redacted]; rest'],
  ['redis://:pw@host', 'redis://:[redacted]@host'],
  ['Authorization: Bearer abcdefgh12', 'Authorization: [redacted] [redacted]'],
  ['input_tokens=5', 'input_tokens=5'],
])('text: %s', (text, clean) => {
  expect(redact(text)).toBe(clean);
  expect(redact(clean)).toBe(clean);
});

test('redaction of long text takes time in proportion to it', () => {
  for (const unit of ['a', 'a.', 'a ', '://', 'password ', '=', 'aaaa=', '"', 'bearer ']) {
    const text = unit.repeat(200_000 / unit.length);
    const started = performance.now();
    redact(text);
    expect(performance.now() - started, unit).toBeLessThan(2000);
  }
});

test.each(['APIKEY', 'secretkey', '用户密码', 'csrf_token', 'Set-Cookie', 'x-api-key', 'client_secret'])(
  '%s is a secret',
  (name) => expect(isSecretName(name)).toBe(true),
);
test.each(['monkey', 'total_tokens', 'price_per_token', 'passenger', 'authors', 'keys', 'tokenizer'])(
  '%s is none',
  (name) => expect(isSecretName(name)).toBe(false),
);

const key = () => randomBytes(32).toString('base64');
const place = { collection: 'token_usage', sourceId: '68f9e12fc0958945793f6065' };

test('what is sealed opens with its key, at its place, and nowhere else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.string(), fc.string(), (bytes, collection, id) => {
      const [one, two] = [key(), key()];
      const sealed = Vault.from(one).seal({ collection, sourceId: id }, bytes)!;
      expect(isSealed(JSON.parse(JSON.stringify(sealed)))).toBe(true);
      for (const keys of [one, `${two},${one}`, ` ${Buffer.from(one, 'base64').toString('hex')} `])
        expect(Vault.from(keys).open({ collection, sourceId: id }, sealed)).toEqual(Buffer.from(bytes));
      expect(() => Vault.from(two).open({ collection, sourceId: id }, sealed)).toThrow(/encrypted with key/);
      expect(() => Vault.from(undefined).open({ collection, sourceId: id }, sealed)).toThrow(/is not set/);
      expect(() => Vault.from(one).open({ collection, sourceId: `${id}x` }, sealed)).toThrow(/does not decrypt/);
      expect(() => Vault.from(one).open({ collection: `${collection}x`, sourceId: id }, sealed)).toThrow(VaultError);
    }),
    { numRuns: 50 },
  );
});

test('one bit changed anywhere is found out', () => {
  const vault = Vault.from(key());
  const sealed = vault.seal(place, Buffer.from('document'))!;
  const bytes = Buffer.from(sealed.data, 'base64');
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    expect(() => vault.open(place, { ...sealed, data: changed.toString('base64') })).toThrow(/does not decrypt/);
  }
  expect(() => vault.open(place, { ...sealed, data: '' })).toThrow(VaultError);
});

test('the first key encrypts; two encryptions differ; without a key nothing is encrypted', () => {
  const [one, two] = [key(), key()];
  const vault = Vault.from(`${two},${one}`);
  expect(vault.seal(place, Buffer.from('x'))!.key).toBe(Vault.from(two).ids[0]);
  expect(vault.seal(place, Buffer.from('x'))!.data).not.toBe(vault.seal(place, Buffer.from('x'))!.data);
  expect(Vault.from('').seal(place, Buffer.from('x'))).toBeUndefined();
});

test.each(['short', 'x'.repeat(64), randomBytes(31).toString('hex'), `${randomBytes(32).toString('base64')},nonsense`])(
  'a key that cannot be read is refused, and not repeated: %#',
  (text) => {
    expect(() => Vault.from(text)).toThrow(/32 bytes/);
    try {
      Vault.from(text);
    } catch (error) {
      expect((error as Error).message).not.toContain(text);
    }
  },
);

test('an id is found in every form a person may give it', () => {
  const hex = '68f9e12fc0958945793f6065';
  for (const text of [hex, hex.toUpperCase(), `ObjectId("${hex}")`, `ObjectId('${hex}')`, `{"$oid":"${hex}"}`])
    expect(sourceIdsOf(text)[0]).toEqual({ sourceId: hex, as: 'objectId' });
  // Hex in quotes is a string; bare, it may be one too.
  expect(sourceIdsOf(`"${hex}"`)[0]).toEqual({ sourceId: `"${hex}"`, as: 'string' });
  expect(sourceIdsOf(hex).map((one) => one.sourceId)).toContain(`"${hex}"`);
  expect(sourceIdsOf('42').map((one) => one.as)).toEqual(['int', 'long', 'double', 'string']);
  expect(sourceIdsOf('true').map((one) => one.as)).toEqual(['bool', 'string']);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.integer().map((n) => new Int32(n | 0)),
        fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }).map((n) => Long.fromBigInt(n)),
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => new Double(n)),
        fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => new ObjectId(bytes)),
        fc.record({ a: fc.string(), b: fc.integer().map((n) => new Int32(n | 0)) }),
      ),
      (id) => {
        const canonical = sourceId(id);
        expect(sourceIdsOf(canonical).map((one) => one.sourceId)).toContain(canonical);
        if (typeof id === 'string') expect(sourceIdsOf(id).map((one) => one.sourceId)).toContain(canonical);
      },
    ),
  );
});

test('the type at a path', () => {
  const document = EJSON.parse('{"a":{"b":[{"c":{"$numberInt":"1"}}]},"d.e":null,"f":{"$numberDouble":"NaN"}}', {
    relaxed: false,
  }) as Record<string, unknown>;
  const types = {
    'a.b': 'array',
    'a.b.0.c': 'int',
    'a.b[0].c': 'int',
    'd.e': 'null',
    f: 'double',
    g: 'missing',
    'f.x.y': 'missing',
    '': 'object',
  };
  for (const [path, type] of Object.entries(types)) expect(typeAt(document, path), path).toBe(type);
});

test('the budget holds for each collection and for all together', () => {
  const counts = [
    { collection: 'a', documents: 1000, quarantined: 10 },
    { collection: 'b', documents: 10, quarantined: 2 },
    { collection: 'c', documents: 0, quarantined: 0 },
  ];
  expect(judgeQuarantine(counts, 0.2)).toMatchObject({
    passed: true,
    reason: '',
    total: { documents: 1010, quarantined: 12 },
  });
  const judged = judgeQuarantine(counts, 0.1);
  expect(judged.passed).toBe(false);
  expect(judged.collections.map((one) => one.over)).toEqual([false, true, false]);
  expect(judged.reason).toMatch(/b has 2 of 10 .*20 %.* allows 10 %/);
  expect(judgeQuarantine(counts, 0.011).reason).toContain('total has 12 of 1010');
  fc.assert(
    fc.property(
      fc.array(
        fc
          .tuple(fc.nat(1000), fc.nat(1000))
          .map(([q, rest]) => ({ collection: 'x', documents: q + rest, quarantined: q })),
      ),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (some, budget) => {
        const result = judgeQuarantine(some, budget);
        expect(result.passed).toBe(
          some.every((one) => one.documents === 0 || one.quarantined / one.documents <= budget),
        );
        expect(result.passed).toBe(result.reason === '');
      },
    ),
  );
});
