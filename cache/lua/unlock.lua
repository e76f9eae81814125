-- unlock: frees a lock and announces that.
-- KEYS 1 lock  2 index of the holder's locks
-- ARGV 1 token
-- Returns 1 | {'LOST'} (the token does not hold the lock)
local lock, index = KEYS[1], KEYS[2]
local token = ARGV[1]

local holder, _, waited = cache_holder(lock, cache_now())
if not holder or holder == token or string.sub(holder, 18) ~= string.sub(token, 18) then
  redis.call('SREM', index, lock) -- unless the same holder has taken the lock again
end
if holder ~= token then
  return {'LOST'}
end
cache_let_go(lock, waited)
return 1
