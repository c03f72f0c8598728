// Redis Cluster's rule of slots: whatever stands in an id, a key and its removals share a slot, and nothing else shares a name.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { keyOfTombstone, patternsOf, tombstoneKey } from '../../stores/redis/tombstone.ts';
import { redisFailure } from '../../stores/redis/connection.ts';

/** An implementation of its own: the tag is looked for byte by byte, the sum is made bit by bit. */
function slot(key: string): number {
  const bytes = Buffer.from(key);
  const open = bytes.indexOf(0x7b);
  const close = open < 0 ? -1 : bytes.indexOf(0x7d, open);
  const hashed = close > open + 1 ? bytes.subarray(open + 1, close) : bytes;
  let crc = 0;
  for (const byte of hashed)
    for (let bit = 7; bit >= 0; bit--) {
      const carry = ((crc >> 15) ^ (byte >> bit)) & 1;
      crc = ((crc << 1) & 0xffff) ^ (carry ? 0x1021 : 0);
    }
  return crc & 16383;
}

const handMade = [
  ...[
    '',
    '}',
    '{',
    '{}',
    '}{',
    '{a}{b}',
    'a}b',
    '{}x',
    '{}a}',
    '{{a}',
    '{a',
    'a{b}',
    '{a}:causeway',
    '#1',
    '{#1}',
    '}{}{a}',
  ],
  ...[
    'ü',
    '{ü}',
    '名前 {名}',
    'a b',
    '\n',
    '*',
    '[a]',
    '\\',
    '?',
    'x'.repeat(10_240),
    `{${'y'.repeat(10_240)}}`,
    `${'{}'.repeat(5120)}`,
  ],
];
const ids = fc.oneof(
  fc.string({ unit: fc.constantFrom('{', '}', '#', '1', ':', 'a', 'ü', ' '), maxLength: 14 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(...handMade),
);
const prefixes = ['session:', '{app}:session:', 'a}:', '{a', 'cart{}:'];

test('the sum of the specification', () => {
  expect(slot('123456789')).toBe(0x31c3);
});

test.each(prefixes)(
  'prefix %s: keys of one call have one slot, the name leads back, and is no key of the prefix',
  (prefix) => {
    const one = (id: string) => {
      const key = prefix + id;
      const removals = tombstoneKey(key);
      expect(slot(removals)).toBe(slot(key));
      expect(keyOfTombstone(removals)).toBe(key);
      expect(removals.endsWith(key)).toBe(true);
      expect(removals.startsWith(prefix)).toBe(false);
    };
    for (const id of handMade) one(id);
    fc.assert(fc.property(ids, one), { numRuns: 3000 });
  },
);

test('no two ids share the name of their removals, and no name is another id’s key', () => {
  const owner = new Map<string, string>();
  const take = (id: string) => {
    const key = `session:${id}`;
    const name = tombstoneKey(key);
    expect(owner.get(name) ?? id).toBe(id);
    owner.set(name, id);
    expect(keyOfTombstone(key)).toBeUndefined();
  };
  for (const id of handMade) take(id);
  // What the name of one may look like as the id of another.
  for (const id of handMade) for (const n of [1, 2, 16384]) take(`${id}#${n}`);
  for (const id of handMade) take(tombstoneKey(`session:${id}`));
  fc.assert(fc.property(ids, take), { numRuns: 5000 });
});

test('what only resembles such a name is none', () => {
  const name = tombstoneKey('session:a');
  for (const other of [
    name.replace(/\d+/, '0'),
    name.replace(/(\d+)/, '0$1'),
    `x${name}`,
    '{causeway:1}',
    'causeway:owner',
  ])
    expect(keyOfTombstone(other)).toBeUndefined();
});

test('patterns of a prefix take its own signs literally', () => {
  expect(patternsOf('a*[b]?\\:')).toEqual(['a\\*\\[b\\]\\?\\\\:*', '{causeway:*}a\\*\\[b\\]\\?\\\\:*']);
});

test.each([
  'Too many Cluster redirections. Last error: ReplyError: MOVED 3999 127.0.0.1:6381',
  'Too many Cluster redirections. Last error: ReplyError: ASK 3999 127.0.0.1:6381',
  'Too many Cluster redirections. Last error: Error: Connection is closed.',
  'CLUSTERDOWN Hash slot not served',
  'CLUSTERDOWN The cluster is down',
  'MOVED 3999 127.0.0.1:6381',
  'ASK 3999 127.0.0.1:6381',
  'TRYAGAIN Multiple keys request during rehashing of slot',
  'LOADING Redis is loading the dataset in memory',
  "READONLY You can't write against a read only replica.",
  "ERR Error running script (call to f_1b): @user_script:19: @user_script: 19: -READONLY You can't write against a read only replica.",
  "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
  'NOREPLICAS Not enough good replicas to write.',
  'MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist to disk.',
  "OOM command not allowed when used memory > 'maxmemory'.",
  'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.',
])('%s: busy', (text) => {
  expect(redisFailure(new Error(text), 'loading keys')).toMatchObject({ type: 'StoreBusy' });
});

test.each([
  'None of startup nodes is available',
  'Failed to refresh slots cache.',
  'Connection is closed.',
  'Cluster is ended.',
])('%s: unreachable', (text) => {
  expect(redisFailure(new Error(text), 'loading keys')).toMatchObject({ type: 'StoreUnreachable' });
});

test('keys of two slots in one call stay a defect', () => {
  const text = "CROSSSLOT Keys in request don't hash to the same slot";
  expect(redisFailure(new Error(text), 'loading keys')).toMatchObject({ type: 'Defect' });
});
