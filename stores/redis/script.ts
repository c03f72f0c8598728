// The compare-and-set that every key is written and removed with.

/** The field of the JSON value that holds the guard: which document of which source collection, how new, and its rank among documents claiming the key. */
export const guardField = '_causeway';

/** How long a removal is remembered, s: longer than any writer that has read the document before can still be alive. */
export const tombstoneSeconds = 24 * 3600;

/**
 * KEYS[1]: key, KEYS[2]: its removals (a hash of source collection and document -> version, in the same slot).
 * ARGV: value, expiry (ms since the epoch), source id, rank, version (fixed width, sorts as text), who decided that this one is newer, source collection.
 * Between two documents the higher rank (then source id, then source collection) wins; between two versions of one document the newer.
 * A value without a guard was written by the application itself; it is accepted, and replaced by what its document says. A key of another type is
 * nobody's value, and stays. An evicted key simply is written again: Redis never is the only home of a value. 2: it has expired by the server's clock, and nothing was done.
 */
export const setIfNewer = `
local time = redis.call('TIME')
if tonumber(ARGV[2]) <= time[1] * 1000 + math.floor(time[2] / 1000) then return 2 end
local again = ARGV[6] == 'ledger'
local gone = redis.call('HGET', KEYS[2], ARGV[7] .. '\\t' .. ARGV[3])
if gone and (gone > ARGV[5] or gone == ARGV[5] and not again) then return 0 end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'string' and kind ~= 'none' then return redis.error_reply('FOREIGN a key of another type is in the way') end
local old = kind == 'string' and redis.call('GET', KEYS[1])
local ok, value = pcall(cjson.decode, old or '')
local guard = ok and type(value) == 'table' and value['${guardField}']
if type(guard) == 'table' then
  if guard.s == ARGV[3] and guard.c == ARGV[7] then
    if guard.v > ARGV[5] or guard.v == ARGV[5] and not again then return 0 end
  elseif guard.r > ARGV[4] or guard.r == ARGV[4] and (guard.s > ARGV[3] or guard.s == ARGV[3] and (guard.c or '') > ARGV[7]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
return 1`;

/** KEYS as above. ARGV: source id, version, seconds to remember, who decided, source collection. Removes the key if this document holds it in an older version, or,
 * where the ledger says that it is this document's, if the application has written it; and leaves a tombstone. */
export const removeIfOlder = `
local again = ARGV[4] == 'ledger'
local document = ARGV[5] .. '\\t' .. ARGV[1]
local gone = redis.call('HGET', KEYS[2], document)
if gone and (gone > ARGV[2] or gone == ARGV[2] and not again) then return 0 end
redis.call('HSET', KEYS[2], document, ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
if redis.call('TYPE', KEYS[1]).ok ~= 'string' then return 0 end
local ok, value = pcall(cjson.decode, redis.call('GET', KEYS[1]))
local guard = ok and type(value) == 'table' and value['${guardField}']
if type(guard) == 'table' then
  if guard.s ~= ARGV[1] or guard.c ~= ARGV[5] or guard.v > ARGV[2] or guard.v == ARGV[2] and not again then return 0 end
elseif not again then return 0 end
redis.call('UNLINK', KEYS[1])
return 1`;
