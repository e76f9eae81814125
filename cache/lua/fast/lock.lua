-- fast/lock: the common case of lock.lua, for one or more locks: nobody holds them.
-- KEYS 1 clock of fences  2 index of the holder's locks  3.. locks
-- ARGV 1 ms for which to hold the locks  2.. for each lock its token
-- Returns {'OK', for each lock its fence in 16 digits or 0 (another case: use lock.lua)}
local clock, index, ttl = KEYS[1], KEYS[2], ARGV[1]

local held = redis.call('EXISTS', unpack(KEYS, 3)) > 0
local fences, free = {}, {}
for i = 3, #KEYS do
  if held and redis.call('EXISTS', KEYS[i]) == 1 then
    fences[i - 2] = 0
  else
    free[#free + 1] = KEYS[i]
  end
end
if #free > 0 then
  local last, at = cache_tick(clock, #free)
  local deadline, fence = string.format('%013.0f', at + ttl), last - #free
  redis.call('SADD', index, unpack(free)) -- before the locks, so that no lock is taken if this fails
  for i = 3, #KEYS do
    if fences[i - 2] == nil then
      fence = fence + 1
      local digits = string.format('%016.0f', fence)
      local record = deadline .. digits .. '0' .. ARGV[i - 1]
      -- NX: the same lock may be asked for twice.
      fences[i - 2] = redis.call('SET', KEYS[i], record, 'NX', 'PX', ttl) and digits or 0
    end
  end
end
return {'OK', fences}
