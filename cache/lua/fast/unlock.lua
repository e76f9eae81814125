-- fast/unlock: the common case of unlock.lua: the token holds the lock and nobody
-- waits for it.
-- KEYS 1 lock  2 index of the holder's locks
-- ARGV 1 '0' and the token, as they stand in the lock's record
-- Returns 1 | {'ELSE'} (another case: use unlock.lua)
local lock, index = KEYS[1], KEYS[2]

if redis.call('GETRANGE', lock, 29, -1) ~= ARGV[1] then
  return {'ELSE'}
end
redis.call('DEL', lock)
redis.call('SREM', index, lock)
return 1
