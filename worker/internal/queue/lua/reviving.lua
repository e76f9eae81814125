-- reviving: brings a task that has ended back to its line.

-- Returns 'retried' or why not, as retry.lua does. It runs as if it were new, but goes on after
-- the steps that have ended.
local function revive(id, at)
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
