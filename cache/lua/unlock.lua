-- unlock: frees a lock and announces it.
-- KEYS 1 lock  2 index of the holder's locks
-- ARGV 1 token
-- Returns 1 | {'LOST'} (the token does not hold it)
local lock, index = KEYS[1], KEYS[2]
local token = ARGV[1]

local holder, _, waited = cache_holder(lock, cache_now())
if not holder or holder == token or string.sub(holder, 18) ~= string.sub(token, 18) then
  redis.call('SREM', index, lock) -- unless it is held again on behalf of the same
end
if holder ~= token then
  return {'LOST'}
end
cache_let_go(lock, waited)
return 1
