-- sharing: the tasks of a batch count as one for how many tasks of a queue may run at a time.
--
-- The stream of an incarnation has how many tasks of a batch it has in hand of a queue, as
-- '#number|queue'; active has how many tasks of a queue count for nothing, as 'queue|shared', and the
-- incarnation and the batch that a task came to last, as 'queue|gathers'.
-- Only a queue with a limit has any of these. The number is the third part of a task's entry in owned.

-- How many tasks of a batch the incarnation has in hand of a queue.
local function sharers(incarnation, number, queue)
  return counted('stream:' .. incarnation, '#' .. number .. '|' .. queue)
end

-- A task comes to a batch.
local function join(incarnation, number, queue)
  redis.call('HSET', key('active'), queue .. '|gathers', incarnation .. '|' .. number)
  if count('stream:' .. incarnation, '#' .. number .. '|' .. queue, 1) > 1 then shares[queue] = (shares[queue] or 0) + 1 end
end

-- A task leaves the batch that its entry in owned names, if it names one.
local function part(incarnation, entry, queue)
  local number = string.match(entry, '^%d+|%d+|(%d+)')
  if not number then return end
  local field = '#' .. number .. '|' .. queue
  if count('stream:' .. incarnation, field, -1) > 0 then
    shares[queue] = (shares[queue] or 0) - 1
  else
    redis.call('HDEL', key('stream:' .. incarnation), field)
    if redis.call('HGET', key('active'), queue .. '|gathers') == incarnation .. '|' .. number then redis.call('HDEL', key('active'), queue .. '|gathers') end
  end
end
