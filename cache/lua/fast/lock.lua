-- The common case of lock.lua: nobody holds the lock.
-- KEYS: the lock, the clock of fences, the index of the holder's locks
-- ARGV: token, ttl ms
-- Returns the fence in 16 digits, or ELSE without having written.
local lock, clock, index = KEYS[1], KEYS[2], KEYS[3]
local token, ttl = ARGV[1], ARGV[2]

if redis.call('EXISTS', lock) == 1 then
  return 'ELSE'
end
local fence, at = cache_tick(clock)
redis.call('SET', lock, string.format('%013.0f', at + ttl) .. fence .. '0' .. token, 'PX', ttl)
redis.call('SADD', index, lock)
return fence
