-- fast/unlock: the common case of unlock.lua, for one or more locks of any holders: the token
-- holds the lock and nobody waits for it.
-- KEYS 1.. locks, then for each the index of its holder's locks
-- ARGV 1.. for each lock '0' and the token, as they stand in the lock's record
-- Returns {'OK', for each lock 1 or 0 (another case: use unlock.lua)}
local many = #KEYS / 2
local freed, ours, indexes, of = {}, {}, {}, {}
for i, record in ipairs(redis.call('MGET', unpack(KEYS, 1, many))) do
  if record and string.sub(record, 30) == ARGV[i] then
    local lock, index = KEYS[i], KEYS[many + i]
    freed[i] = 1
    if of[index] then
      table.insert(of[index], lock)
    else
      of[index] = {lock}
      table.insert(indexes, index)
    end
  else
    freed[i] = 0
  end
end
local broken = {} -- of another type: unlock.lua tells that holder, and no other
for _, index in ipairs(indexes) do
  broken[index] = type(redis.pcall('SREM', index, unpack(of[index]))) == 'table'
end
for i = 1, many do
  if freed[i] == 1 and broken[KEYS[many + i]] then
    freed[i] = 0
  elseif freed[i] == 1 then
    ours[#ours + 1] = KEYS[i]
  end
end
if #ours > 0 then
  redis.call('DEL', unpack(ours))
end
return {'OK', freed}
