-- Says who holds locks, and optionally asks to be woken when the first is freed.
-- KEYS: the locks
-- ARGV: '1' to be woken
-- Returns for each lock 0 if it is free, or {token, fence, deadline ms or 0,
--   '1' if somebody waits for it, the instant in ms}.
local wake = ARGV[1]

local at, answer = cache_now(), {}
for i, lock in ipairs(KEYS) do
  local holder, fence, waited, deadline = cache_holder(lock, at)
  if holder and wake == '1' and not waited and fence ~= '0' then
    redis.call('SETRANGE', cache_record_key(lock), 29, '1')
    waited = true
  end
  answer[i] = holder and {holder, fence, deadline, waited and '1' or '0', at} or 0
end
return answer
