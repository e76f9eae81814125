-- renew: renews a lock, also at maxmemory, where its holder works on.
-- KEYS 1 lock
-- ARGV 1 token  2 ms that it is held from now on
-- Returns 1 | {'LOST'} (the token does not hold it)
local lock = KEYS[1]
local token, ttl = ARGV[1], ARGV[2]

local at = cache_now()
if cache_holder(lock, at) ~= token then
  return {'LOST'}
end
writable(lock)
cache_hold_on(lock, token, at + ttl, ttl)
return 1
