// The compare-and-set that every key is written with.

/** The field of the JSON value that holds the guard: which document, how new, and its rank among documents claiming the key. */
export const guardField = '_causeway';

/**
 * KEYS[1]: key. ARGV: value, expiry (ms since the epoch), source id, rank, version (fixed width, sorts as text).
 * Between two documents the higher rank (then source id) wins; between two versions of one document the newer.
 * An evicted key simply is written again: Redis never is the only home of a value.
 */
export const setIfNewer = `
local old = redis.call('GET', KEYS[1])
if old then
  local ok, value = pcall(cjson.decode, old)
  local guard = ok and type(value) == 'table' and value['${guardField}']
  if not guard then return redis.error_reply('FOREIGN a key that this migration did not write is in the way') end
  if guard.s == ARGV[3] then
    if guard.v >= ARGV[5] then return 0 end
  elseif guard.r > ARGV[4] or (guard.r == ARGV[4] and guard.s > ARGV[3]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
return 1`;
