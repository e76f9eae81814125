-- holder: returns the holders of locks, and optionally has their ends announced.
-- KEYS 1.. locks
-- ARGV 1 '1' to have their ends announced
-- Returns {'OK', for each lock nil if it is free, or {token, fence, deadline in ms
--         or 0, 1 if somebody waits for it or else 0}}
local wake = ARGV[1]

local at, reply = cache_now(), {'OK'}
for i, lock in ipairs(KEYS) do
  local holder, fence, waited, deadline = cache_holder(lock, at)
  if holder and wake == '1' and not waited and fence ~= '0' then
    redis.call('SETRANGE', cache_record_key(lock), 29, '1')
    waited = true
  end
  reply[i + 1] = holder and {holder, fence, deadline, waited and 1 or 0} or false
end
return reply
