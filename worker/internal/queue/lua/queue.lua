-- queue: changes the settings of a queue. Limits set by an operator take precedence over
-- limits set by programs.
-- KEYS 1 tasks
-- ARGV 1 queue  2 'program' or 'operator' to set limits, 'reset' to set none,
--      'pause' or 'resume'  3 limits: 'tasks at a time|tasks|bytes', 0 for none
-- Returns {'OK', what is in effect now: '1 when paused|tasks at a time|tasks|bytes'} | {'WRONGTYPE', key}
local queue, verb = ARGV[1], ARGV[2]
local mistyped = mending_refuses()
if mistyped then return {'WRONGTYPE', mistyped} end

local was = redis.call('HGET', key('settings'), queue) or '|0|0|0'
local paused = settings(queue).paused
local before = settings(queue).bytes
writable(key('settings')) -- to pause a queue helps at maxmemory
if verb == 'pause' or verb == 'resume' then
  paused = verb == 'pause'
elseif verb == 'reset' then
  redis.call('HDEL', key('settings'), queue .. '|program', queue .. '|operator')
else
  redis.call('HSET', key('settings'), queue .. '|' .. verb, ARGV[3])
end

local limits = redis.call('HGET', key('settings'), queue .. '|operator') or redis.call('HGET', key('settings'), queue .. '|program') or '0|0|0'
local text = (paused and '1' or '') .. '|' .. limits
if text == '|0|0|0' then
  redis.call('HDEL', key('settings'), queue)
else
  redis.call('HSET', key('settings'), queue, text)
end
known(queue)
all_set = {}

-- A new bound on bytes: what is there is weighed once, task by task.
if settings(queue).bytes > 0 and before == 0 then
  local sum = 0
  local function add_up(ids)
    for _, id in ipairs(ids) do
      if queue_of(line_of(redis.call('HGET', key('tasks'), id)) or '|') == queue then sum = sum + redis.call('HSTRLEN', key('tasks'), id) end
    end
  end
  for _, mark in ipairs({'^', '', '~'}) do
    if fits(key('queue:' .. queue .. mark), 'list') then add_up(redis.call('LRANGE', key('queue:' .. queue .. mark), 0, -1)) end
  end
  if fits(key('delayed:' .. queue), 'zset') then add_up(redis.call('ZRANGE', key('delayed:' .. queue), 0, -1)) end
  add_up(redis.call('HKEYS', key('blocked')))
  for _, name in ipairs(redis.call('SMEMBERS', key('parked'))) do
    if fits(key('parked:' .. name), 'list') then add_up(redis.call('LRANGE', key('parked:' .. name), 0, -1)) end
  end
  for _, incarnation in ipairs(redis.call('ZRANGE', key('leases'), 0, -1)) do add_up(redis.call('HKEYS', key('owned:' .. incarnation))) end
  redis.call('HSET', key('bytes'), queue, sum)
elseif settings(queue).bytes == 0 then
  redis.call('HDEL', key('bytes'), queue)
end

if text ~= was then -- programs say theirs again every few seconds
  if pending(queue) then wake(queue) end
  offer_parked(queue)
end
return {'OK', text}
