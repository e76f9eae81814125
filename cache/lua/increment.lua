-- increment: adds to a counter.
-- KEYS 1 entry  2 its lock
-- ARGV 1 number to add  2 new version  3 holder's token or ''  4 ms that a new
--      counter lives, 0 for ever
-- Returns the sum in digits | {code of cache_refuses}
local entry, lock = KEYS[1], KEYS[2]
local delta, version, token, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local refused = cache_refuses('increment', entry, lock, token, delta)
if refused then
  return {refused}
end
return cache_increment(entry, delta, version, ttl)
