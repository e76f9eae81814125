-- The common case of save.lua: no lock, no token, no condition.
-- KEYS: the entry, its lock
-- ARGV: value, ttl ms (0: none), ttl ms with the time to keep it stale, new version
-- Returns OK, or ELSE without having written: it is not that case.
local entry, lock = KEYS[1], KEYS[2]
local value, ttl, whole, version = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if redis.call('EXISTS', lock) == 1 then
  return 'ELSE'
end
redis.call('STRLEN', entry) -- an error unless it is a string
local at = cache_digits()
if ttl == '0' then
  redis.call('SET', entry, at .. '00000000000000000000000000' .. version .. value)
else
  redis.call('SET', entry, at .. '0000000000000' .. string.format('%013.0f', at + ttl) .. version .. value, 'PX', whole)
end
return 'OK'
