-- retry: brings dead and cancelled tasks back to their lines, as if they were new.
-- KEYS 1 tasks
-- ARGV 1.. ids
-- Returns {'OK', for each id: 'retried', 'other' (neither dead nor cancelled),
--         'gone' (not stored), 'taken' (another task has its unique key) or
--         'broken' (a key of its queue is something else's)} | {'WRONGTYPE', key}
local mistyped = mending_refuses()
if mistyped then return {'WRONGTYPE', mistyped} end
local at, reply = now(), {'OK'}
writable(key('tasks'))

local function revive(id)
  local record = redis.call('HGET', key('tasks'), id)
  local line = line_of(record)
  if not line then return 'gone' end
  if record_refuses(record) then return 'broken' end
  local from = redis.call('ZSCORE', key('dead'), id) and 'dead' or redis.call('ZSCORE', key('cancelled'), id) and 'cancelled'
  if not from then return 'other' end
  local options = options_of(record)
  if options.u and binding.seize({unique = options.u, lasting = options.v and int(options.v) or ''}, id, at) then return 'taken' end
  redis.call('ZREM', key(from), id)
  redis.call('HDEL', key('reasons'), id)
  redis.call('HDEL', key('tries'), id)
  note(id, at, 'retried', '{}')
  tally(queue_of(line), 'revived', 1)
  weigh(queue_of(line), id, 1)
  if options.d then expire(options.d, {id}) end
  push(line, {id})
  touched[queue_of(line)] = true
  return 'retried'
end

for i, id in ipairs(ARGV) do reply[i + 1] = revive(id) end
flush()
return reply
