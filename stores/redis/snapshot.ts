// Keys with their expiry, as lines of JSON, taken in one look each; and put back.
import { redis, timeOf, type RedisConnection } from './connection.ts';
import { scanAll } from './loader.ts';
import { keyOfTombstone } from './tombstone.ts';
import { isMarked } from './value.ts';

/** A value as it stands, or a hash of removals, fields sorted. `e`: expiry in ms since 1970, by the server's clock; -1 is none. */
export type KeyRecord = { readonly k: string; readonly e: number } & (
  { readonly v: string } | { readonly h: readonly string[] }
);

/**
 * KEYS: any. Answers type, expiry and content for each; the expiry is exact, because the clock is read before and after until it has not
 * moved in between (servers before 7.0 tell only how long a key has to live).
 */
const readKeys = `
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local answer = {}
for i, key in ipairs(KEYS) do
  local before, left
  repeat
    before = clock()
    left = redis.call('PTTL', key)
  until before == clock()
  local kind = redis.call('TYPE', key).ok
  local expiry = left < 0 and -1 or before + left
  local content = false
  if left == -2 then kind = 'none'
  elseif kind == 'string' then content = redis.call('GET', key)
  elseif kind == 'hash' then content = redis.call('HGETALL', key) end
  answer[i] = { kind, string.format('%.0f', expiry), content }
end
return answer`;

/** KEYS[1]. ARGV: expiry or -1, then the value, or fields and values of a hash. What was there goes. */
const putKey = (kind: 'string' | 'hash') => `
redis.call('DEL', KEYS[1])
${kind === 'string' ? `redis.call('SET', KEYS[1], ARGV[2])` : `for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end`}
if ARGV[1] ~= '-1' then redis.call('PEXPIREAT', KEYS[1], ARGV[1]) end
return 1`;

const atOnce = 500;

/** What this migration wrote under a prefix. A key met twice by the scan is there twice: callers know it by its name. */
export async function* ownKeys(connection: RedisConnection, prefix: string): AsyncGenerator<KeyRecord[]> {
  const seen = new Set<string>();
  for await (const found of scanAll(connection, prefix)) {
    const fresh = found.filter((key) => !seen.has(key));
    for (const key of fresh) seen.add(key);
    yield (await readRecords(connection, [...new Set(fresh)])).filter((record) => record !== undefined);
  }
}

/** As they stand, in the order asked for; undefined where there is no such key, or not one of ours. */
export async function readRecords(
  connection: RedisConnection,
  keys: readonly string[],
): Promise<(KeyRecord | undefined)[]> {
  if (keys.length === 0) return [];
  // In a cluster a script sees the keys of one slot.
  const groups = connection.isCluster ? keys.map((key) => [key]) : [keys];
  const answers = await redis('reading keys', () =>
    Promise.all(groups.map((group) => connection.eval(readKeys, group.length, ...group) as Promise<Answer[]>)),
  );
  return answers.flat().map(([kind, expiry, content], i) => recordOf(keys[i]!, kind, Number(expiry), content));
}

type Answer = [kind: string, expiry: string, content: string | string[] | null];

function recordOf(k: string, kind: string, e: number, content: Answer[2]): KeyRecord | undefined {
  if (kind === 'string' && typeof content === 'string') return isMarked(content) ? { k, e, v: content } : undefined;
  if (kind === 'hash' && Array.isArray(content) && keyOfTombstone(k) !== undefined)
    return { k, e, h: sortedPairs(content) };
  return undefined;
}

function sortedPairs(content: readonly string[]): string[] {
  const pairs = Array.from({ length: content.length / 2 }, (_, i) => [content[2 * i]!, content[2 * i + 1]!]);
  return pairs.sort(([a], [b]) => (a! < b! ? -1 : 1)).flat();
}

export const encodeRecord = (record: KeyRecord): string => `${JSON.stringify(record)}\n`;

export const hasExpired = ({ e }: KeyRecord, now: number): boolean => e !== -1 && e <= now;

/** What has expired meanwhile is left out. Returns how many were written. */
export async function putRecords(connection: RedisConnection, records: readonly KeyRecord[]): Promise<number> {
  const now = await timeOf(connection);
  const live = records.filter((record) => !hasExpired(record, now));
  for (let i = 0; i < live.length; i += atOnce)
    await redis('restoring keys', () =>
      Promise.all(
        live
          .slice(i, i + atOnce)
          .map((record) =>
            'v' in record
              ? connection.eval(putKey('string'), 1, record.k, record.e, record.v)
              : connection.eval(putKey('hash'), 1, record.k, record.e, ...record.h),
          ),
      ),
    );
  return live.length;
}
