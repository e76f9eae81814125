-- fast/save: the common case of save.lua, for one or more entries of the same lifetime: no
-- lock, no token, no condition.
-- KEYS 1.. entries, then their locks in the same order
-- ARGV 1 ms that the entries live, 0 for ever  2 the sum of ARGV 1 and the ms to keep them
--      stale  3.. for each entry its new version and its value
-- Returns {'OK', for each entry 1 or 0 (another case: use save.lua)}
local ttl, whole, many = ARGV[1], ARGV[2], #KEYS / 2

local locked = redis.call('EXISTS', unpack(KEYS, many + 1)) > 0
local at, saved = cache_digits(), {}
local head = at .. '0000000000000' .. (ttl == '0' and '0000000000000' or string.format('%013.0f', at + ttl))
for i = 1, many do
  local entry = KEYS[i]
  if locked and redis.call('EXISTS', KEYS[many + i]) == 1 or type(redis.pcall('STRLEN', entry)) ~= 'number' then
    saved[i] = 0 -- locked, or a list
  else
    saved[i] = 1
    local value = head .. ARGV[2 * i + 1] .. ARGV[2 * i + 2]
    if ttl == '0' then
      redis.call('SET', entry, value)
    else
      redis.call('PSETEX', entry, whole, value)
    end
  end
end
return {'OK', saved}
