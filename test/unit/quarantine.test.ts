// Quarantine without a server: redaction, encryption, readings of an id, types at a path, budget.
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, type Transform } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Double, EJSON, Int32, Long, ObjectId, serialize } from 'bson';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { Shaper } from '../../activities/shape.ts';
import { isSealed, keyVariable, ownVault, Vault, VaultError } from '../../control/vault.ts';
import { typeAt } from '../../core/bson-type.ts';
import { sourceId, sourceIdsOf } from '../../core/identity.ts';
import { judgeQuarantine } from '../../core/quarantine.ts';
import { isSecretName, redact, redactShown } from '../../core/redact.ts';
import { loadMappings } from '../../mappings/registry.ts';
import { decryption, encryption } from '../../stores/snapshots/cipher.ts';

const mappings = await loadMappings();

test('a document set aside is encrypted as a whole, whatever is in it', () => {
  const vault = Vault.from(key());
  const shaper = new Shaper(mappings.get('token_usage')!, 'token_usage', 1, vault);
  for (const text of ['\u0000', '\\u0000', '+8613800138000', 'sk-0123456789abcdef0123']) {
    const bytes = serialize({ _id: new ObjectId(), text });
    const json: unknown = JSON.parse(shaper.aside({ id: 'x', bytes }));
    if (!isSealed(json)) throw new Error('not sealed');
    expect(vault.open({ collection: 'token_usage', sourceId: 'x' }, json)).toEqual(Buffer.from(bytes));
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

/** Made of pieces, so that no scanner takes this file for a leak. */
const looksSecret = fc.constantFrom(
  'sk-' + 'a1B2c3D4e5F6g7H8i9J0',
  'sk-proj-' + 'a1B2c3D4e5F6g7H8_9J0',
  'sk_live_' + 'a1B2c3D4e5F6g7H8i9J0',
  'AKIA' + 'IOSFODNN7EXAMPLE',
  'ghp_' + 'a'.repeat(36),
  'xoxb-' + '123456789012-abcdefghij',
  'AIza' + 'b'.repeat(35),
  'glpat-' + 'c'.repeat(20),
  'hf_' + 'd'.repeat(34),
  '123456789:' + 'e'.repeat(35),
  'eyJ' + 'hbGciOiJIUzI1NiJ9' + '.' + 'eyJzdWIiOiIxIn0' + '.' + 'f'.repeat(43),
  '$2b$12$' + 'g'.repeat(53),
);
const looksPersonal = fc.constantFrom(
  '13800138000', '+86 138-0013-8000', '+8613912345678', '138 0013 8000', '(415) 555-2671', '+1 415 555 2671', '+44 20 7946 0958',
  '010-12345678', 'zhang.san@example.com', 'li+tag@mail.example.co.uk', '王五@例子.公司', '11010519491231002X', '4111 1111 1111 1111',
  'session:9f86d081884c7d65', 'session_id=9f86d081884c7d65',
); // prettier-ignore
const around = fc.constantFrom((x: string) => x, (x: string) => `see ${x}, please`, (x: string) => `备注：${x}。`, (x: string) => JSON.stringify({ note: [x] })); // prettier-ignore

test('what is spelled like a credential goes whatever its field is called; what belongs to people goes where documents are shown', () => {
  fc.assert(
    fc.property(plainName, looksSecret, looksPersonal, around, (name, secret, person, wrap) => {
      const value = { [name]: [wrap(secret), { inner: wrap(person) }] };
      for (const clean of [redact(value), redactShown(value)]) {
        expect(JSON.stringify(clean)).not.toContain(secret);
        expect(redactShown(redactShown(clean))).toEqual(redactShown(clean));
      }
      const [, hidden = person] = /^session\w*[:=](.*)$/.exec(person) ?? [];
      expect(JSON.stringify(redactShown(value))).not.toContain(hidden);
    }),
    { numRuns: 1000 },
  );
});

test('fields of people are hidden by their names, and telephones that are numbers, as Extended JSON has them', () => {
  for (const name of ['phone', 'userPhone', 'mobile_no', 'Email', 'session_id', 'sessionId', 'sid', '手机号', 'openid'])
    expect(redactShown({ [name]: 'x1' })).toEqual({ [name]: '[redacted]' });
  expect(redactShown({ a: 13800138000, b: { $numberLong: '13800138000' } })).toEqual({
    a: '[redacted]',
    b: { $numberLong: '[redacted]' },
  });
});

test('figures, dates, codes and ids are no telephones', () => {
  const plainly = {
    code: '600519', price: '1800.13', volume: 123456789, at: 1732534982123, text: '2026-11-25T02:23:02.123Z', day: '2026-11-25', range: '2025-01-01 2026-01-01',
    oid: { $oid: '68f9e12fc0958945793f6065' }, when: { $date: { $numberLong: '1732534982123' } }, digest: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    ratio: '0.13800138000', task: 'analysis-2026-11-25-600519', model: 'qwen-plus', uuid: '2f1d4c1e-9a44-4b3e-8c0e-3b0f7a6b9e11',
  }; // prettier-ignore
  expect(redactShown(plainly)).toEqual(plainly);
});

test('redaction of long text takes time in proportion to it', () => {
  for (const unit of [
    'a',
    'a.',
    'a ',
    '://',
    'password ',
    '=',
    'aaaa=',
    '"',
    'bearer ',
    'sk-',
    'a@a.',
    '1',
    '12 ',
    'eyJa.',
    '-----BEGIN ',
    '+1 ',
    'sess:',
  ]) {
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
      const sealed = Vault.from(one).seal({ collection, sourceId: id }, bytes);
      expect(isSealed(JSON.parse(JSON.stringify(sealed)))).toBe(true);
      for (const keys of [one, `${two},${one}`, ` ${Buffer.from(one, 'base64').toString('hex')} `])
        expect(Vault.from(keys).open({ collection, sourceId: id }, sealed)).toEqual(Buffer.from(bytes));
      expect(() => Vault.from(two).open({ collection, sourceId: id }, sealed)).toThrow(/encrypted with key/);
      expect(() => Vault.from(one).open({ collection, sourceId: `${id}x` }, sealed)).toThrow(/does not decrypt/);
      expect(() => Vault.from(one).open({ collection: `${collection}x`, sourceId: id }, sealed)).toThrow(VaultError);
    }),
    { numRuns: 50 },
  );
});

test('one bit changed anywhere is found out', () => {
  const vault = Vault.from(key());
  const sealed = vault.seal(place, Buffer.from('document'));
  const bytes = Buffer.from(sealed.data, 'base64');
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    expect(() => vault.open(place, { ...sealed, data: changed.toString('base64') })).toThrow(/does not decrypt/);
  }
  expect(() => vault.open(place, { ...sealed, data: '' })).toThrow(VaultError);
});

test('the first key encrypts; two encryptions differ; without a key there is no vault', () => {
  const [one, two] = [key(), key()];
  const vault = Vault.from(`${two},${one}`);
  expect(vault.seal(place, Buffer.from('x')).key).toBe(Vault.from(two).ids[0]);
  expect(vault.seal(place, Buffer.from('x')).data).not.toBe(vault.seal(place, Buffer.from('x')).data);
  expect(() => Vault.from('')).toThrow(/32 bytes/);
});

/** A lone surrogate, which UTF-8 cannot hold, becomes the replacement character. */
const whole = (text: string): string => Buffer.from(text, 'utf8').toString('utf8');

test('texts seal alike so that they can be compared, also after a new key has come in front, and only as what they are', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (one, other) => {
      const [first, newer] = [key(), key()];
      const vault = Vault.from(first);
      const sealed = vault.sealText('redis key', one);
      expect(Vault.from(`${newer},${first}`).sealText('redis key', one)).toBe(sealed);
      expect(vault.openText('redis key', sealed)).toBe(whole(one));
      expect(sealed === vault.sealText('redis key', other)).toBe(whole(one) === whole(other));
      expect(vault.sealText('bound', one)).not.toBe(sealed);
      expect(() => vault.openText('bound', sealed)).toThrow(/does not decrypt/);
      expect(() => Vault.from(newer).openText('redis key', sealed)).toThrow(/every host of a migration needs the same/);
      expect(() => vault.openText('redis key', one)).toThrow(VaultError);
    }),
    { numRuns: 50 },
  );
});

test('bytes open only where they were kept', () => {
  const vault = Vault.from(key());
  const sealed = vault.sealBytes('captured/1/2', Buffer.from('secret'));
  expect(vault.openBytes('captured/1/2', sealed).toString()).toBe('secret');
  expect(sealed.includes('secret')).toBe(false);
  expect(() => vault.openBytes('captured/1/3', sealed)).toThrow(VaultError);
  expect(() => vault.openBytes('captured/1/2', Buffer.alloc(0))).toThrow(VaultError);
});

test('without a key one is made, kept for its owner alone, and found again', async () => {
  const home = await mkdtemp(join(tmpdir(), 'causeway-key-'));
  vi.stubEnv('CAUSEWAY_HOME', join(home, 'deep'));
  vi.stubEnv(keyVariable, '');
  const [id] = ownVault().ids;
  const file = join(home, 'deep', 'migration-key');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await stat(join(home, 'deep'))).mode & 0o777).toBe(0o700);
  expect(Vault.from((await readFile(file, 'utf8')).trim()).ids).toEqual([id]);
  expect(ownVault().ids).toEqual([id]);
  expect(await readdir(join(home, 'deep'))).toEqual(['migration-key']);
  vi.stubEnv(keyVariable, key());
  expect(ownVault().ids).not.toEqual([id]);
  vi.unstubAllEnvs();
});

test('a snapshot file is encrypted, and one that was changed, cut or renamed is refused', async () => {
  const secret = randomBytes(32);
  const through = (stream: Transform, parts: readonly Buffer[]) => buffer(Readable.from(parts).pipe(stream));
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 40 }), async (content, step) => {
      const plain = Buffer.from(content);
      const written = await through(encryption(secret, 'a'), plain.length === 0 ? [] : [plain]);
      const parts = Array.from({ length: Math.ceil(written.length / step) }, (_, i) =>
        written.subarray(i * step, (i + 1) * step),
      );
      expect(await through(decryption(secret, 'a'), parts)).toEqual(plain);
      await expect(through(decryption(secret, 'b'), parts)).rejects.toThrow();
      await expect(through(decryption(secret, 'a'), [written.subarray(0, -1)])).rejects.toThrow();
      const changed = Buffer.from(written);
      changed[changed.length - 1]! ^= 1;
      await expect(through(decryption(secret, 'a'), [changed])).rejects.toThrow();
    }),
    { numRuns: 30 },
  );
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
  // A key too long for an index is told as what stands for it everywhere.
  const long = sourceId('x'.repeat(2000));
  expect(sourceIdsOf(` ${long}`)[0]).toEqual({ sourceId: long, as: 'a long key' });
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
  // Of one collection it is said once.
  expect(judgeQuarantine([counts[1]!], 0.1).reason).not.toContain('total');
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

test('names of fields that are secrets themselves are hidden from eyes, and stay two where they are two', () => {
  const document = { AKIAFIELDNAME1234567: 1, 'sk-name1234567890abcdef': { 'a@b.example': 2 }, price: 3 };
  expect(redactShown(document)).toEqual({ '[redacted]': 1, '[redacted] (2)': { '[redacted]': 2 }, price: 3 });
  expect(redact(document)).toEqual(document);
});
