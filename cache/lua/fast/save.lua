-- fast/save: the common case of save.lua: no lock, no token, no condition.
-- KEYS 1 entry  2 its lock
-- ARGV 1 value  2 ms that the entry lives, 0 for ever  3 the sum of ARGV 2 and the ms
--      to keep it stale  4 new version
-- Returns 1 | {'ELSE'} (another case: use save.lua)
local entry, lock = KEYS[1], KEYS[2]
local value, ttl, whole, version = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if redis.call('EXISTS', lock) == 1 then
  return {'ELSE'}
end
redis.call('STRLEN', entry) -- fails with WRONGTYPE if the key is a list
local at = cache_digits()
if ttl == '0' then
  redis.call('SET', entry, at .. '00000000000000000000000000' .. version .. value)
else
  redis.call('SET', entry, at .. '0000000000000' .. string.format('%013.0f', at + ttl) .. version .. value, 'PX', whole)
end
return 1
