-- seeking: finds how many ids go before one in a list, without a walk through a long list.

local function enqueued(record)
  local time = record and string.match(record, '^[^|\n]*|[^|\n]*|(%w*)|')
  return time and tonumber(time, 16)
end

-- How many ids of a list are on the right of the task's, and whether that is exact; nil
-- when the list does not have the task. Up to near ids are compared at each end, and
-- from where the task's age says that it stands: in the middle tasks stand in the order
-- of their times, but for those that came from elsewhere.
local function seek(list, id, record, near)
  local n, time = redis.call('LLEN', list), enqueued(record)
  local at = redis.call('LPOS', list, id, 'RANK', -1, 'MAXLEN', near)
  if not at and n > near then at = redis.call('LPOS', list, id, 'MAXLEN', near) end
  if at then return n - 1 - at, true end
  if n <= 2 * near or not time then return nil end
  local low, high = near, n - near
  while low < high do
    local middle = math.floor((low + high) / 2)
    local other = enqueued(redis.call('HGET', key('tasks'), redis.call('LINDEX', list, -1 - middle)))
    if other and other < time then low = middle + 1 else high = middle end
  end
  local last = math.min(low + near, n - 1)
  for i, other in ipairs(redis.call('LRANGE', list, -1 - last, -1 - low)) do
    if other == id then return last + 1 - i, true end
  end
  return low, false
end
