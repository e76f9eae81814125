-- retaining: keeps the records of tasks that are done. They are many, and most of them ran once:
-- the record itself says when and where. Its time is then 'enqueued+until+ended+node', times in ms
-- on Redis's clock in base 16, node the incarnation without its random part. The ids stand in
-- lists, 'retained:' and until when these are kept; the sorted set retained has these times. A
-- sorted set of all ids would take seven times as much memory.
--
-- An id stays in its list when its task is deleted: the record decides.

-- The time of the list for a task that is kept from at on: up to 1/64 of keep later than asked,
-- so that a retention has few lists.
local function retention_end(at, keep)
  local step = 1
  while step * 128 <= keep do step = 2 * step end
  return math.ceil((at + keep) / step) * step
end

-- Keeps the record of a task that is done. Returns until when, or nil when there is no record.
local function retain(id, record, at, keep, incarnation)
  local _, last = string.find(record or '', '^[^|\n]*|[^|\n]*|%w*')
  if not last then return nil end
  local till = retention_end(at, keep)
  local list = hex(till)
  redis.call('HSET', key('tasks'), id, string.sub(record, 1, last) .. '+' .. list .. '+' .. hex(at) .. '+' ..
    string.gsub(incarnation, ':%x+$', '') .. string.sub(record, last + 1))
  if redis.call('RPUSH', key('retained:' .. list), id) == 1 then redis.call('ZADD', key('retained'), int(till), list) end
  return till
end
