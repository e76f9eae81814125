-- Renews a lock, also at maxmemory: its holder works on.
-- KEYS: the lock
-- ARGV: token, ttl ms
-- Returns 1, or 0 when the token does not hold it.
local lock = KEYS[1]
local token, ttl = ARGV[1], ARGV[2]

local at = cache_now()
if cache_holder(lock, at) ~= token then
  return 0
end
writable(lock)
cache_hold_on(lock, token, at + ttl, ttl)
return 1
