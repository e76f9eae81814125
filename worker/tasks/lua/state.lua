-- Where tasks are, and the moves between those places. An id is in exactly one
-- of: a queue, the delayed set, a parked list, the owned hash of an incarnation,
-- the dead set, the done set (only if it is to be remembered).
--
-- K names the keys: tasks, delayed, queues, done and the prefixes queue, idle,
-- wake, and the channel due.

-- Calls a command with a key and any number of words, a few hundred at a time.
local function each(command, key, words)
  for from = 1, #words, 500 do
    redis.call(command, key, unpack(words, from, math.min(from + 499, #words)))
  end
end

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

-- A whole number in base 36: a time takes 8 bytes of a record instead of 13.
local function base36(n)
  local digits, out = '0123456789abcdefghijklmnopqrstuvwxyz', ''
  repeat
    local d = n % 36
    out = string.sub(digits, d + 1, d + 1) .. out
    n = (n - d) / 36
  until n == 0
  return out
end

-- A type code when a key that add() writes is something else's, nil when not.
local function add_refuses(K, queue)
  if not fits(K.queue .. queue, 'list') then return 'WRONGTYPE' end
  return nil
end

-- Stores new tasks that are alike: group has their queue, chosen (the caller
-- chose the ids), when ('' for now, '+ms' or '@ms' on Redis's clock), head of
-- the record, and the lists ids and tails. touched collects the queues to wake.
-- Returns the positions of those whose id was taken.
local function add(K, at, group, touched)
  local stamp, taken, fresh = base36(at), {}, group.ids
  if group.chosen then
    fresh = {}
    for i, id in ipairs(group.ids) do
      if redis.call('ZSCORE', K.done, id) or redis.call('HSETNX', K.tasks, id, group.head .. stamp .. group.tails[i]) == 0 then
        taken[#taken + 1] = i
      else
        fresh[#fresh + 1] = id
      end
    end
  else -- drawn by the producer: nobody else has them
    local words, head = {}, group.head .. stamp
    for i, id in ipairs(fresh) do
      words[2 * i - 1] = id
      words[2 * i] = head .. group.tails[i]
    end
    each('HSET', K.tasks, words)
  end
  if #fresh == 0 then return taken end
  local due
  if group.when ~= '' then
    due = tonumber(string.sub(group.when, 2))
    if string.sub(group.when, 1, 1) == '+' then due = at + due end
  end
  if due and due > at then
    local first = redis.call('ZRANGE', K.delayed, 0, 0, 'WITHSCORES')
    for _, id in ipairs(fresh) do redis.call('ZADD', K.delayed, int(due), id) end
    if not first[2] or due < tonumber(first[2]) then redis.call('PUBLISH', K.due, int(due)) end
  else
    each('LPUSH', K.queue .. group.queue, fresh)
    touched[group.queue] = true
  end
  redis.call('SADD', K.queues, group.queue)
  return taken
end
