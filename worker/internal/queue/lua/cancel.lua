-- cancel: cancels tasks. A running one is marked, and its node told: it is cancelled
-- when its handler returns an error.
-- KEYS 1 tasks
-- ARGV 1 reason (JSON)  2.. ids
-- Returns {'OK', tasks that ended, for each id: 'cancelled', 'asked' (it runs), 'already …' (dead,
--         cancelled, done), 'gone' (not stored) or 'broken' (a key of its queue is
--         something else's)}
--       | {'WRONGTYPE', key}
local mistyped = mending_refuses()
if mistyped then return {'WRONGTYPE', mistyped} end
local at, reply = now(), {'OK'}
writable(key('tasks'))

local function end_one(id)
  local record = redis.call('HGET', key('tasks'), id)
  if retained(record) or redis.call('ZSCORE', key('done'), id) then return 'already done' end
  for _, place in ipairs({'dead', 'cancelled'}) do
    if redis.call('ZSCORE', key(place), id) then return 'already ' .. place end
  end
  if not record then return 'gone' end
  if record_refuses(record) then return 'broken' end
  local place = take_out(id, record)
  if not place then return 'gone' end
  if place == 'active' then
    redis.call('HSET', key('cancelling'), id, ARGV[1])
    redis.call('PUBLISH', channel('look'), '')
    return 'asked'
  end
  cancel(id, record, ARGV[1], at)
  return 'cancelled'
end

for i = 2, #ARGV do reply[i] = end_one(ARGV[i]) end
flush()
return with_ended(reply)
