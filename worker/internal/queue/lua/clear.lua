-- clear: deletes tasks of a queue that do not run: those in its lines, the delayed and the
-- parked tasks.
-- KEYS 1 tasks
-- ARGV 1 queue  2 how many at most
-- Returns {'OK', tasks that ended, how many were deleted, '1' when there are more, '1' when nothing is left of the queue}
--       | {'WRONGTYPE', key}
local queue, most = ARGV[1], tonumber(ARGV[2])
local kinds = {'delayed:' .. queue, 'zset', 'queue:' .. queue .. '^', 'list', 'queue:' .. queue, 'list', 'queue:' .. queue .. '~', 'list', 'groups:' .. queue, 'zset'}
local mistyped = mending_refuses() or wrong(kinds)
if mistyped then return {'WRONGTYPE', mistyped} end
local at, ids = now(), {}
writable(key('tasks'))

local function gather(list)
  if #ids >= most then return end
  for _, id in ipairs(redis.call('LPOP', key(list), most - #ids) or {}) do ids[#ids + 1] = id end
end
for _, mark in ipairs({'^', '', '~'}) do gather('queue:' .. queue .. mark) end
local groups = #ids < most and redis.call('ZRANGE', key('groups:' .. queue), 0, most - #ids - 1) or {}
for _, group in ipairs(groups) do
  local before, party = #ids, queue .. '/' .. group
  for _, mark in ipairs(turns().marks) do
    if fits(key('queue:' .. party .. mark), 'list') then gather('queue:' .. party .. mark) end
  end
  turns().left(party, #ids - before)
end
for _, id in ipairs(#ids < most and redis.call('ZRANGE', key('delayed:' .. queue), 0, most - #ids - 1) or {}) do
  redis.call('ZREM', key('delayed:' .. queue), id)
  ids[#ids + 1] = id
end
for _, name in ipairs(redis.call('SMEMBERS', key('parked'))) do
  if string.match(name, '^([^|]*)|') == queue and fits(key('parked:' .. name), 'list') then
    gather('parked:' .. name)
    if redis.call('EXISTS', key('parked:' .. name)) == 0 then redis.call('SREM', key('parked'), name) end
  end
end

local deleted = 0
for _, id in ipairs(ids) do
  local record = redis.call('HGET', key('tasks'), id)
  if record then
    deleted = deleted + 1
    unparked(id, record)
    weigh(queue, id, -1)
    report(id, record, 'deleted')
    loosen(id, record, 'deleted', at)
    erase(id)
  end
end
tally(queue, 'deleted', deleted)
local gone = #ids < most and not redis.call('HGET', key('active'), queue)
if gone then
  redis.pcall('HDEL', key('tended'), queue)
  emptied(queue)
  redis.pcall('ZREM', key('next'), queue)
  redis.call('SREM', key('queues'), queue)
  for _, name in ipairs({'resting', 'rates', 'refills'}) do
    if exists(name) then redis.call('ZREM', key(name), queue) end
  end
  if settings(queue).special then turns().unmark(queue) end
end
flush()
return with_ended({'OK', deleted, #ids == most and '1' or '', gone and '1' or ''})
