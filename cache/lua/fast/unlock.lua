-- fast/unlock: the common case of unlock.lua, for one or more locks: the token holds the
-- lock and nobody waits for it.
-- KEYS 1 index of the holder's locks  2.. locks
-- ARGV 1.. for each lock '0' and the token, as they stand in the lock's record
-- Returns {'OK', for each lock 1 or 0 (another case: use unlock.lua)}
local freed, ours = {}, {}
for i, record in ipairs(redis.call('MGET', unpack(KEYS, 2))) do
  if record and string.sub(record, 30) == ARGV[i] then
    freed[i], ours[#ours + 1] = 1, KEYS[i + 1]
  else
    freed[i] = 0
  end
end
if #ours > 0 then
  redis.call('SREM', KEYS[1], unpack(ours))
  redis.call('DEL', unpack(ours))
end
return {'OK', freed}
