-- places: where tasks are, and the moves between those places.
--
-- An id is in exactly one of: a line of its queue, the delayed set of its queue,
-- a parked list, the owned hash of an incarnation, blocked (it waits for other
-- tasks), dead, cancelled, done (only while its id alone is remembered). A done task whose
-- record is kept has a mark in that, see retaining.lua.
--
-- A queue has three lines, served in this order: 'images^' of urgent tasks,
-- 'images', 'images~' of those that may wait. The right end is served first.

-- Until when a record is kept: the name of the retained list that has its task. nil for a task
-- that is not done, and for a done one that an older program has kept, which is in done.
local function retained(record)
  return record and string.match(record, '^[^|\n]*|[^|\n]*|%w*%+(%x+)%+')
end

-- The first key that is of another type than its place must have, or nil: name,
-- type, name, type … Keys that a script reads before its first write need none of
-- this: reading fails in time.
local function wrong(kinds)
  for i = 1, #kinds, 2 do
    if not fits(key(kinds[i]), kinds[i + 1]) then return key(kinds[i]) end
  end
end

-- Calls a command with a key and any number of words, a few hundred at a time. Returns
-- the last reply.
local function each(command, name, words)
  local reply
  for from = 1, #words, 500 do
    reply = redis.call(command, key(name), unpack(words, from, math.min(from + 499, #words)))
  end
  return reply
end

-- Whether tasks stand in a line of the queue.
local function pending(queue)
  return redis.call('EXISTS', key('queue:' .. queue .. '^'), key('queue:' .. queue), key('queue:' .. queue .. '~')) > 0
end

-- No line of the queue has tasks. One that is tended stays in ready: what comes meanwhile is
-- not told.
local function emptied(queue)
  if not tender(queue, now()) then redis.pcall('SREM', key('ready'), queue) end
end

-- Puts tasks into a line: at its end, or with RPUSH as the next ones. Returns whether
-- somebody has to be woken, see rises().
local function push(line, ids, command)
  local length, queue = each(command or 'LPUSH', 'queue:' .. line, ids), queue_of(line)
  if length <= #ids then filled(queue) end
  return rises(queue, length, #ids)
end

-- What is set for queues: paused, and the most tasks at a time, tasks and bytes (0: no limit).
local all_set, unset = {}, {at_a_time = 0, most = 0, bytes = 0}
local function note_settings(queue, text)
  if not text then
    all_set[queue] = unset
    return
  end
  local paused, at_a_time, most, bytes = string.match(text, '^(1?)|(%d+)|(%d+)|(%d+)$')
  all_set[queue] = {paused = paused == '1', at_a_time = tonumber(at_a_time or 0), most = tonumber(most or 0), bytes = tonumber(bytes or 0)}
end

local function settings(queue)
  if not all_set[queue] then note_settings(queue, redis.call('HGET', key('settings'), queue)) end
  return all_set[queue]
end

-- How many more tasks of the queue may run now, or nil when there is no limit.
local function room(queue)
  local set = settings(queue)
  if set.paused then return 0 end
  if set.at_a_time == 0 then return nil end
  local active = redis.call('HMGET', key('active'), queue, queue .. '|shared')
  return math.max(0, set.at_a_time - count_of(active[1]) + count_of(active[2]))
end

-- Wakes one idle incarnation for the queue, unless no task of it may run now.
local function wake(queue)
  if room(queue) ~= 0 then rouse(queue) end
end

-- Has everybody idle of a queue look.
local function wake_all(queue)
  for _, set in ipairs(idle_sets(queue)) do
    for _, other in ipairs(fits(key(set), 'set') and redis.call('SMEMBERS', key(set)) or {}) do
      redis.call('PUBLISH', channel('wake:' .. other), '')
    end
  end
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

-- All incarnations that have joined and not left.
local function lives()
  local some = {}
  for _, incarnation in ipairs(redis.call('ZRANGE', key('leases'), 0, -1)) do
    if string.find(incarnation, '^[%w._:-]+#%d+:%x+$') then some[#some + 1] = incarnation end
  end
  return some
end

-- What a script has to write at its end: counters by queue, and whom to wake.
local tallies, hands, touched = {}, {}, {}
local function tally(queue, what, n)
  local field = queue .. '|' .. what
  tallies[field] = (tallies[field] or 0) + n
end
local function hand(queue, n) hands[queue] = (hands[queue] or 0) + n end
local shares = {} -- how many more count for nothing, see sharing.lua

local function flush()
  for field, n in pairs(tallies) do count('stats', field, n) end
  for queue, n in pairs(shares) do
    if n ~= 0 and count('active', queue .. '|shared', n) == 0 then redis.call('HDEL', key('active'), queue .. '|shared') end
  end
  for queue, n in pairs(hands) do
    if n ~= 0 and count('active', queue, n) == 0 then redis.call('HDEL', key('active'), queue) end
    -- Those that had to wait for others of their queue to end may run now.
    if n < 0 and settings(queue).at_a_time > 0 then
      if pending(queue) then touched[queue] = true end
      if room(queue) + n - (shares[queue] or 0) <= 0 then offer_parked(queue) end
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

-- The time of the first of a sorted set, or nil. That of an entry that is not ours may be
-- infinite, or too far away to count with.
local function first_of(name)
  local time = tonumber(redis.call('ZRANGE', key(name), 0, 0, 'WITHSCORES')[2])
  return time and math.abs(time) < 1e15 and time or nil
end

-- Has the movers end tasks that still wait at their deadline. The key deadlines has the
-- waiting tasks that have one, and no other.
local function expire(deadline, ids)
  local time, first = tonumber(deadline), first_of('deadlines')
  for _, id in ipairs(ids) do redis.call('ZADD', key('deadlines'), int(time), id) end
  if not first or time < first then announce(time) end
  there.deadlines = true
end
