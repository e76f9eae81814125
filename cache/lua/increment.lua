-- Adds to a counter.
-- KEYS: the entry, its lock
-- ARGV: what to add, new version, holder's token or '', ttl ms for a new counter (0: none)
-- Returns the sum in digits, or why it was refused.
local entry, lock = KEYS[1], KEYS[2]
local delta, version, token, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local refused = cache_refuses('increment', entry, lock, token, delta)
if refused then
  return refused
end
return cache_increment(entry, delta, version, ttl)
