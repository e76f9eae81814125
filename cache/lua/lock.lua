-- Takes a lock, or asks to be woken when it is freed.
-- KEYS: the lock, the clock of fences, the index of the holder's locks
-- ARGV: token, ttl ms, '1' to be woken
-- Returns the fence in 16 digits, or the milliseconds until the lock is free
--   unless it is renewed (0: not known), or -1 when the key is not a lock. The
--   same request again gets the same fence.
local lock, clock, index = KEYS[1], KEYS[2], KEYS[3]
local token, ttl, wake = ARGV[1], ARGV[2], ARGV[3]

local at = cache_now()
local holder, fence, waited, deadline = cache_holder(lock, at)
if holder == token then
  return fence
elseif holder == false then
  return -1
elseif holder then
  if wake == '1' and not waited and fence ~= '0' then
    redis.call('SETRANGE', cache_record_key(lock), 29, '1')
  end
  return math.max(deadline - at, 0)
end
fence = cache_tick(clock)
cache_hold(lock, token, fence, at + ttl, ttl)
redis.call('SADD', index, lock)
return fence
