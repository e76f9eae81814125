-- fast/lock: the common case of lock.lua, for one or more locks of any holders: nobody holds
-- them.
-- KEYS 1 clock of fences  2.. locks, then for each the index of its holder's locks
-- ARGV 1 ms for which to hold the locks  2.. for each lock its token
-- Returns {'OK', for each lock its fence in 16 digits or 0 (another case: use lock.lua)}
local clock, ttl, many = KEYS[1], ARGV[1], (#KEYS - 1) / 2

local held = redis.call('EXISTS', unpack(KEYS, 2, many + 1)) > 0
local fences, free, indexes, of = {}, 0, {}, {}
for i = 1, many do
  local lock, index = KEYS[i + 1], KEYS[many + i + 1]
  if held and redis.call('EXISTS', lock) == 1 then
    fences[i] = 0
  else
    free = free + 1
    if of[index] then
      table.insert(of[index], lock)
    else
      of[index] = {lock}
      table.insert(indexes, index)
    end
  end
end
if free > 0 then
  local last, at = cache_tick(clock, free)
  local deadline, fence = string.format('%013.0f', at + ttl), last - free
  local broken = {} -- of another type: lock.lua tells that holder, and no other
  for _, index in ipairs(indexes) do -- before the locks, so that none is taken that is in no index
    broken[index] = type(redis.pcall('SADD', index, unpack(of[index]))) == 'table'
  end
  for i = 1, many do
    if fences[i] == nil then
      fence = fence + 1
      local digits = string.format('%016.0f', fence)
      local record = deadline .. digits .. '0' .. ARGV[i + 1]
      -- NX: the same lock may be asked for twice.
      fences[i] = not broken[KEYS[many + i + 1]] and redis.call('SET', KEYS[i + 1], record, 'NX', 'PX', ttl) and digits or 0
    end
  end
end
return {'OK', fences}
