-- queue: changes the settings of a queue. Limits set by an operator take precedence over
-- limits set by programs.
-- KEYS 1 tasks
-- ARGV 1 queue  2 'program' or 'operator' to set limits, 'reset' to set none,
--      'pause' or 'resume'  3 limits: 'tasks at a time|tasks|bytes', 0 for none
-- Returns {'OK', what is in effect now: '1 when paused|tasks at a time|tasks|bytes',
--         '1' when the queue is to be weighed (see weigh.lua)} | {'WRONGTYPE', key}
local queue, verb = ARGV[1], ARGV[2]
local mistyped = mending_refuses() or wrong({'weighed:' .. queue, 'set'})
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

-- A new bound on bytes: the tasks that are there are weighed some at a time.
if settings(queue).bytes > 0 and before == 0 then
  redis.call('HSET', key('weighing'), queue, int(count('stats', queue .. '|weighings', 1)) .. '|0')
elseif settings(queue).bytes == 0 then
  redis.call('HDEL', key('bytes'), queue)
  redis.call('HDEL', key('weighing'), queue)
  redis.call('UNLINK', key('weighed:' .. queue))
end

if text ~= was then -- programs say theirs again every few seconds
  if pending(queue) then wake(queue) end
  offer_parked(queue)
end
return {'OK', text, redis.call('HEXISTS', key('weighing'), queue) == 1 and '1' or ''}
