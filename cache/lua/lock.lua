-- lock: takes a lock or, if another holds it, has its end announced. A repeated
-- request with the same token gets the same fence.
-- KEYS 1 lock  2 clock of fences  3 index of the holder's locks
-- ARGV 1 token  2 ms for which to hold the lock  3 '1' to have the end announced
-- Returns the fence in 16 digits | {'LOCKED', ms until the lock is free unless it
--         is renewed, 0: not known} | {'WRONGTYPE', key} (it is not a lock)
local lock, clock, index = KEYS[1], KEYS[2], KEYS[3]
local token, ttl, wake = ARGV[1], ARGV[2], ARGV[3]

local at = cache_now()
local holder, fence, waited, deadline = cache_holder(lock, at)
if holder == token then
  return fence
elseif holder == false then
  return {'WRONGTYPE', lock}
elseif holder then
  if wake == '1' and not waited and fence ~= '0' then
    redis.call('SETRANGE', cache_record_key(lock), 29, '1')
  end
  return {'LOCKED', math.max(deadline - at, 0)}
end
fence = cache_tick(clock)
cache_hold(lock, token, fence, at + ttl, ttl)
redis.call('SADD', index, lock)
return fence
