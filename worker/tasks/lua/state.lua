-- Where tasks are, and the moves between those places. An id is in exactly one
-- of: a queue, the delayed set, a parked list, the owned hash of an incarnation,
-- the dead set, the done set (only if it is to be remembered).
--
-- K names the keys: tasks, delayed, queues, done and the prefixes queue, idle,
-- wake, and the channel due.

-- Ends the idling of one incarnation that serves the queue, if there is any.
-- One whose channel nobody listens to is dead: the next is asked.
local function wake(K, queue)
  local idle = K.idle .. queue
  while true do
    local incarnation = redis.call('SPOP', idle)
    if not incarnation then return end
    if redis.call('PUBLISH', K.wake .. incarnation, '') > 0 then return end
  end
end

-- The queue that a task's record names: name|queue|enqueued|options\npayload
local function queue_of(record)
  return string.match(record, '^[^|\n]*|([^|\n]*)|')
end

-- A type code when a key that add() writes is something else's, nil when not.
local function add_refuses(K, queue)
  if not fits(K.queue .. queue, 'list') then return 'WRONGTYPE' end
  return nil
end

-- Stores a new task; false when its id is taken. when is '' for now, '+ms' or
-- '@ms' (Redis's clock). touched collects the queues to wake.
local function add(K, at, task, touched)
  if redis.call('HEXISTS', K.tasks, task.id) == 1 then return false end
  if task.chosen and redis.call('ZSCORE', K.done, task.id) then return false end
  redis.call('HSET', K.tasks, task.id, task.head .. int(at) .. task.tail)
  local due
  if task.when ~= '' then
    due = tonumber(string.sub(task.when, 2))
    if string.sub(task.when, 1, 1) == '+' then due = at + due end
  end
  if due and due > at then
    local first = redis.call('ZRANGE', K.delayed, 0, 0, 'WITHSCORES')
    redis.call('ZADD', K.delayed, int(due), task.id)
    if not first[2] or due < tonumber(first[2]) then redis.call('PUBLISH', K.due, int(due)) end
  else
    redis.call('LPUSH', K.queue .. task.queue, task.id)
    touched[task.queue] = true
  end
  return true
end
