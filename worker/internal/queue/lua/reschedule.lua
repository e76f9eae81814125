-- reschedule: changes the time of a delayed task. A step that sleeps is over then, too.
-- KEYS 1 tasks
-- ARGV 1 id  2 '' for now, '+ms' from now or '@ms' on Redis's clock
-- Returns {'OK', 'delayed' | 'pending' (it was due at once) | 'other' (not delayed) | 'gone'} | {'WRONGTYPE', key}
local id, when = ARGV[1], ARGV[2]
local mistyped = mending_refuses() or wrong({'steps:' .. id, 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local record = redis.call('HGET', key('tasks'), id)
local line = line_of(record)
if not line then return {'OK', 'gone'} end
mistyped = record_refuses(record)
if mistyped then return {'WRONGTYPE', mistyped} end
local queue = queue_of(line)
if not redis.call('ZSCORE', key('delayed:' .. queue), id) then return {'OK', 'other'} end

local at = now()
local due = when ~= '' and tonumber(string.sub(when, 2)) or at
if string.sub(when, 1, 1) == '+' then due = at + due end
redis.call('ZREM', key('delayed:' .. queue), id)
local field, meta = asleep(id, at)
if field then
  -- As long as it was: a time has thirteen digits.
  redis.call('HSET', key('steps:' .. id), field, (string.gsub(meta, '%d+$', int(math.max(due, at)))))
end
if due > at then
  delay(queue, due, {id})
  return {'OK', 'delayed'}
end
come(line, id)
touched[queue] = true
flush()
return {'OK', 'pending'}
