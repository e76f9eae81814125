-- renew: renews a lock. It also works at maxmemory, because the holder goes on working.
-- KEYS 1 lock
-- ARGV 1 token  2 ms for which to hold the lock from now on
-- Returns 1 | {'LOST'} (the token does not hold the lock)
local lock = KEYS[1]
local token, ttl = ARGV[1], ARGV[2]

local at = cache_now()
if cache_holder(lock, at) ~= token then
  return {'LOST'}
end
writable(lock)
cache_hold_on(lock, token, at + ttl, ttl)
return 1
