-- fast/lock: the common case of lock.lua: nobody holds the lock.
-- KEYS 1 lock  2 clock of fences  3 index of the holder's locks
-- ARGV 1 token  2 ms for which to hold the lock
-- Returns the fence in 16 digits | {'ELSE'} (another case: use lock.lua)
local lock, clock, index = KEYS[1], KEYS[2], KEYS[3]
local token, ttl = ARGV[1], ARGV[2]

if redis.call('EXISTS', lock) == 1 then
  return {'ELSE'}
end
local fence, at = cache_tick(clock)
redis.call('SET', lock, string.format('%013.0f', at + ttl) .. fence .. '0' .. token, 'PX', ttl)
redis.call('SADD', index, lock)
return fence
