-- places: where tasks are, and the moves between those places. KEYS[1] of every script
-- is the hash of all tasks' records; its name begins as all others of the
-- namespace do, and redisbus/keys.go names them.
--
-- An id is in exactly one of: a line of its queue, the delayed set of its queue,
-- a parked list, the owned hash of an incarnation, blocked (it waits for other
-- tasks), dead, cancelled, done (only while it is remembered).
--
-- A queue has three lines, served in this order: 'images^' of urgent tasks,
-- 'images', 'images~' of those that may wait. The right end is served first.
local tag = string.sub(KEYS[1], 1, -6)
local function key(name) return tag .. name end
local function channel(name) return string.sub(tag, 2, -3) .. ':' .. name end

-- The first key that is of another type than its place must have, or nil: name,
-- type, name, type … Keys that a script reads before its first write need none of
-- this: reading fails in time.
local function wrong(kinds)
  for i = 1, #kinds, 2 do
    if not fits(key(kinds[i]), kinds[i + 1]) then return key(kinds[i]) end
  end
end

-- Calls a command with a key and any number of words, a few hundred at a time.
local function each(command, name, words)
  for from = 1, #words, 500 do
    redis.call(command, key(name), unpack(words, from, math.min(from + 499, #words)))
  end
end

-- The queue of a line.
local function queue_of(line) return (string.gsub(line, '[~^]$', '')) end

-- Whether tasks stand in a line of the queue.
local function pending(queue)
  return redis.call('EXISTS', key('queue:' .. queue .. '^'), key('queue:' .. queue), key('queue:' .. queue .. '~')) > 0
end

-- The queue is used.
local function known(queue) redis.pcall('SADD', key('queues'), queue) end

-- Tasks have come to a line that was empty. Every queue with tasks in a line is in ready, and
-- what is in ready is in queues; it may stay there when it has none any more.
local function filled(queue)
  if redis.pcall('SADD', key('ready'), queue) ~= 0 then known(queue) end
end

-- No line of the queue has tasks.
local function emptied(queue) redis.pcall('SREM', key('ready'), queue) end

-- Puts tasks into a line: at its end, or as the next ones with RPUSH.
local function push(line, ids, command)
  local name = key('queue:' .. line)
  for from = 1, #ids, 500 do
    local to = math.min(from + 499, #ids)
    local n = redis.call(command or 'LPUSH', name, unpack(ids, from, to))
    if n == to then filled(queue_of(line)) end
  end
end

-- What is set for a queue: paused, and the most tasks at a time, tasks and bytes (0: no limit).
local all_set, unset = {}, {at_a_time = 0, most = 0, bytes = 0}
local function settings(queue)
  if not all_set[queue] then
    local text = redis.call('HGET', key('settings'), queue)
    if not text then
      all_set[queue] = unset
    else
      local paused, at_a_time, most, bytes = string.match(text, '^(1?)|(%d+)|(%d+)|(%d+)$')
      all_set[queue] = {paused = paused == '1', at_a_time = tonumber(at_a_time or 0), most = tonumber(most or 0), bytes = tonumber(bytes or 0)}
    end
  end
  return all_set[queue]
end

-- How many more tasks of the queue may run now, or nil when there is no limit.
local function room(queue)
  local set = settings(queue)
  if set.paused then return 0 end
  if set.at_a_time == 0 then return nil end
  return math.max(0, set.at_a_time - tonumber(redis.call('HGET', key('active'), queue) or 0))
end

-- Ends the idling of one incarnation that serves the queue, if there is any.
-- One whose channel nobody listens to is dead: the next is asked.
local function wake(queue)
  if room(queue) == 0 then return end
  if not fits(key('idle:' .. queue), 'set') then return end -- the next claim reports it
  while true do
    local incarnation = redis.call('SPOP', key('idle:' .. queue))
    if not incarnation then return end
    if redis.call('PUBLISH', channel('wake:' .. incarnation), '') > 0 then return end
  end
end

-- Has everybody idle of a queue look.
local function wake_all(queue)
  if not fits(key('idle:' .. queue), 'set') then return end
  for _, other in ipairs(redis.call('SMEMBERS', key('idle:' .. queue))) do redis.call('PUBLISH', channel('wake:' .. other), '') end
end

-- There is room again for what is parked of a queue: all look, as not everybody handles it.
local function offer_parked(queue)
  if room(queue) == 0 or not fits(key('parked'), 'set') then return end
  for _, list in ipairs(redis.call('SMEMBERS', key('parked'))) do
    if string.match(list, '^([^|]*)|') == queue then return wake_all(queue) end
  end
end

-- The field of periodic that names the one parked tick of a periodic task in a parked
-- list; nil for a task that is no tick. Nothing else in options looks like a tick's T.
local function tick_field(id, record)
  local name, line, options = string.match(record or '', '^([^|\n]*)|([^|\n]*)|[^|\n]*|([^\n]*)\n')
  if not options or not string.find(options, '"T":%d') or not fits(key('periodic'), 'hash') then return nil end
  return string.gsub(id, ':%d+$', '') .. '|' .. queue_of(line) .. '|' .. name
end

-- A task has left the parked list that it was in, if it was in one.
local function unparked(id, record)
  local field = tick_field(id, record)
  if field and redis.call('HGET', key('periodic'), field) == id then redis.call('HDEL', key('periodic'), field) end
end

-- Tasks that the script ended and of which its caller cannot know: id, name, queue,
-- how, of each. They are the second field of the reply, if there are any.
local ended = {}
local function with_ended(reply)
  if #ended > 0 then table.insert(reply, 2, ended) end
  return reply
end

-- What a script has to write at its end: counters by queue, and whom to wake.
local tallies, hands, touched = {}, {}, {}
local function tally(queue, what, n)
  local field = queue .. '|' .. what
  tallies[field] = (tallies[field] or 0) + n
end
local function hand(queue, n) hands[queue] = (hands[queue] or 0) + n end

local function flush()
  for field, n in pairs(tallies) do redis.call('HINCRBY', key('stats'), field, n) end
  for queue, n in pairs(hands) do
    if n ~= 0 and redis.call('HINCRBY', key('active'), queue, n) == 0 then redis.call('HDEL', key('active'), queue) end
    -- Those that had to wait for others of their queue to end may run now.
    if n < 0 and settings(queue).at_a_time > 0 then
      if pending(queue) then touched[queue] = true end
      if room(queue) + n <= 0 then offer_parked(queue) end
    end
  end
  for queue in pairs(touched) do wake(queue) end
end

-- Tells the responsible mover of a time at which it has to look, unless it looks before:
-- it does every 5 s.
local function announce(time)
  if time < now() + 5000 then redis.call('PUBLISH', channel('due'), int(time)) end
end

-- Puts tasks of one queue off until a time. No queue's first task is due before the
-- queue's time in next. That may be too early: the mover that looks then puts it right.
local function delay(queue, due, ids)
  for _, id in ipairs(ids) do redis.call('ZADD', key('delayed:' .. queue), int(due), id) end
  if redis.pcall('ZADD', key('next'), 'LT', 'CH', int(due), queue) == 1 and redis.call('ZRANGE', key('next'), 0, 0)[1] == queue then announce(due) end
end

-- What a script has looked up or made: whether a key exists, see exists() in ties.lua.
local there = {}

-- Has the movers end tasks that still wait at their deadline. The key deadlines has the
-- waiting tasks that have one, and no other.
local function expire(deadline, ids)
  local time, first = tonumber(deadline), redis.call('ZRANGE', key('deadlines'), 0, 0, 'WITHSCORES')
  for _, id in ipairs(ids) do redis.call('ZADD', key('deadlines'), int(time), id) end
  if not first[2] or time < tonumber(first[2]) then announce(time) end
  there.deadlines = true
end
