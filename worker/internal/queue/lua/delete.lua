-- delete: removes tasks and all their data from any place; running tasks stay.
-- KEYS 1 tasks
-- ARGV 1.. ids
-- Returns {'OK', tasks that ended, for each id: 'deleted', 'active', 'gone' (not stored) or
--         'broken' (a key of its queue is something else's)} | {'WRONGTYPE', key}
local mistyped = mending_refuses()
if mistyped then return {'WRONGTYPE', mistyped} end
local at, reply = now(), {'OK'}
writable(key('tasks'))

local function delete(id)
  local record = redis.call('HGET', key('tasks'), id)
  if not record then -- done, and at most its result is kept: a new task may have the id before that is forgotten
    redis.call('ZREM', key('kept'), id)
    erase(id)
    return redis.call('ZREM', key('done'), id) == 1 and 'deleted' or 'gone'
  end
  if record_refuses(record) then return 'broken' end
  local place = take_out(id, record)
  if place == 'active' then return 'active' end
  local queue = queue_of(line_of(record) or '')
  if place == 'done' then
    redis.call('ZREM', key('kept'), id)
  else
    tally(queue, 'deleted', 1)
    report(id, record, 'deleted')
    if place ~= 'dead' and place ~= 'cancelled' then weigh(queue, id, -1) end
    loosen(id, record, 'deleted', at)
  end
  erase(id)
  return 'deleted'
end

for i, id in ipairs(ARGV) do reply[i + 1] = delete(id) end
flush()
return with_ended(reply)
