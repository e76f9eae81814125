-- The common case of unlock.lua: the token holds the lock and nobody waits for it.
-- KEYS: the lock, the index of the holder's locks
-- ARGV: '0' and the token, as they stand in the lock's record
-- Returns 1, or 0 without having written: it is not that case.
local lock, index = KEYS[1], KEYS[2]

if redis.call('GETRANGE', lock, 29, -1) ~= ARGV[1] then
  return 0
end
redis.call('DEL', lock)
redis.call('SREM', index, lock)
return 1
