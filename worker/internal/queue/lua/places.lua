-- places: where tasks are, and the moves between those places.
--
-- An id is in exactly one of: a line of its queue, the delayed set of its queue,
-- a parked list, the owned hash of an incarnation, blocked (it waits for other
-- tasks), dead, cancelled, done (only while its id alone is remembered). A done task whose
-- record is kept has a mark in that, see retaining.lua.
--
-- A queue has three lines, served in this order: 'images^' of urgent tasks,
-- 'images', 'images~' of those that may wait. The right end is served first. Each group
-- of its tasks has three more, 'images/tenant^' and so on, see turns.lua.

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

-- What a script has looked up or made: whether a key exists.
local there = {}

-- Whether a key exists, asked once in a script: most tasks have nothing that
-- hangs on them, and then none of these keys does.
local function exists(name)
  if there[name] == nil then there[name] = redis.call('EXISTS', key(name)) == 1 end
  return there[name]
end

-- Whether tasks stand in a line of the queue, or of its groups.
local function pending(queue)
  return redis.call('EXISTS', key('queue:' .. queue .. '^'), key('queue:' .. queue), key('queue:' .. queue .. '~'), key('groups:' .. queue)) > 0
end

-- No line of the queue has tasks. One that is tended stays in ready: what comes meanwhile is
-- not told.
local function emptied(queue)
  if not tender(queue, now()) then redis.pcall('SREM', key('ready'), queue) end
end

-- The first key that is of another type than it must have, as wrong() says, of keys of which few are there, or
-- none: the most frequent ones first. It notes which are; and which are not, when none is or the script makes none
-- of them without a note.
local function wrong_some(kinds, noted)
  local names = {}
  for i = 1, #kinds, 2 do names[#names + 1] = key(kinds[i]) end
  local left = redis.call('EXISTS', unpack(names))
  noted = noted or left == 0
  for i = 1, #kinds, 2 do
    local sound, kind = true, 'none'
    if left > 0 then sound, kind = fits(key(kinds[i]), kinds[i + 1]) end
    if not sound then return key(kinds[i]) end
    if noted or kind ~= 'none' then there[kinds[i]] = kind ~= 'none' end
    if kind ~= 'none' then left = left - 1 end
  end
end

local turns, binding, offer_parked -- see turns.lua and binding.lua

-- The keys that turns.lua writes, and their types, see wrong_some().
local function party_kinds()
  return {'grouped', 'hash', 'rates', 'zset', 'refills', 'zset', 'held', 'hash', 'holders', 'hash', 'returned', 'hash', 'resting', 'zset', 'halted', 'set'}
end

-- Puts tasks into a line: at its end, or with RPUSH as the next ones. Returns whether
-- somebody has to be woken, see rises().
local function push(line, ids, command)
  if string.find(line, '/', 1, true) then return turns().push(line, ids, command) end
  local length, queue = each(command or 'LPUSH', 'queue:' .. line, ids), queue_of(line)
  if length <= #ids then filled(queue) end
  return rises(queue, length, #ids)
end

-- A delayed task is due: it comes to the end of its line, or to its front if it has not run. Returns as push() does.
local function come(line, id)
  local order = exists('returned') and redis.call('HGET', key('returned'), id)
  if order then return turns().give_back(line, id, order) end
  return push(line, {id})
end

-- Whether a line can take tasks: its keys are not something else's.
local function takes(line)
  if not fits(key('queue:' .. line), 'list') then return false end
  return not string.find(line, '/', 1, true) or turns().fits(turns().party(line))
end

-- What is set for queues: paused, the most tasks at a time, tasks and bytes (0: no limit), the most at
-- a time of a group, whether groups are strict, the rates of the queue and of each group as
-- 'tasks/µs/burst', and special: whether to look at its groups and its rest. Older programs write the
-- first four alone.
local settings_form = '^(1?)|(%d+)|(%d+)|(%d+)|?(%d*)|?(1?)|?([%d/]*)|?([%d/]*)|?(1?)$'
local all_set, unset = {}, {at_a_time = 0, most = 0, bytes = 0, per_group = 0}
local rated = false -- a queue that the script has looked up has a rate, or its groups have
local function rate_of(text)
  local tasks, us, burst = string.match(text or '', '^(%d+)/(%d+)/(%d+)$')
  return tasks and {interval = us / tasks, burst = tonumber(burst)}
end
local function note_settings(queue, text)
  if not text then
    all_set[queue] = unset
    return
  end
  local paused, at_a_time, most, bytes, per_group, strict, rate, group_rate, special = string.match(text, settings_form)
  all_set[queue] = {paused = paused == '1', at_a_time = tonumber(at_a_time or 0), most = tonumber(most or 0), bytes = tonumber(bytes or 0),
    per_group = tonumber(per_group) or 0, strict = strict == '1', rate = rate_of(rate), group_rate = rate_of(group_rate), special = special == '1'}
  rated = rated or all_set[queue].rate ~= nil or all_set[queue].group_rate ~= nil
end

local function settings(queue)
  if not all_set[queue] then note_settings(queue, redis.call('HGET', key('settings'), queue)) end
  return all_set[queue]
end

-- How many tasks of the queue may start now, or nil when there is no limit. Of those that run it knows nothing.
local function starts(queue)
  local set = settings(queue)
  if set.paused or set.special and turns().rests(queue) then return 0 end
  return set.rate and turns().tokens(queue, set.rate) or nil
end

-- How many more tasks of the queue may run, or nil when there is no limit on tasks at a time.
local function places(queue)
  local most = settings(queue).at_a_time
  if most == 0 then return nil end
  local active = redis.call('HMGET', key('active'), queue, queue .. '|shared')
  return math.max(0, most - count_of(active[1]) + count_of(active[2]))
end

-- How many more tasks of the queue may start and run now, or nil when there is no limit.
local function room(queue)
  local may, free = starts(queue), places(queue)
  return free and may and math.min(free, may) or free or may
end

-- Wakes one idle incarnation for the queue, unless no task of it may run now. When all its places are taken, and
-- one by a batch that was gathered last, the node of that batch may have more for it.
local function wake(queue)
  if starts(queue) == 0 then return end
  if places(queue) ~= 0 then return rouse(queue) end
  local gatherer = string.match(redis.call('HGET', key('active'), queue .. '|gathers') or '', '^(.*)|%d+$')
  for _, set in ipairs(gatherer and idle_sets(queue) or {}) do
    if redis.pcall('SREM', key(set), gatherer) == 1 then
      redis.call('PUBLISH', channel('wake:' .. gatherer), '')
      return
    end
  end
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
function offer_parked(queue)
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
local tallies, hands, freed, touched = {}, {}, {}, {}
local function tally(queue, what, n)
  local field = queue .. '|' .. what
  tallies[field] = (tallies[field] or 0) + n
end

-- Counts tasks of a line, or of a queue, that somebody has got or had in hand.
local function hand(line, n)
  local queue = queue_of(line)
  hands[queue] = (hands[queue] or 0) + n
  if queue == line or not string.find(line, '/', 1, true) then return end
  local party = turns().party(line)
  hands[party] = (hands[party] or 0) + n
  if n < 0 then freed[#freed + 1] = party end
end
local shares = {} -- how many more count for nothing, see sharing.lua

-- Adds to the counts of several fields of a hash at once, and takes out those that are 0 then.
local function count_all(name, fields, sums)
  local set, gone = {}, {}
  for from = 1, #fields, 500 do
    for i, text in ipairs(redis.call('HMGET', key(name), unpack(fields, from, math.min(from + 499, #fields)))) do
      if text and text ~= '0' and count_of(text) == 0 then alien(name) end
      local field = fields[from + i - 1]
      local sum = count_of(text) + sums[field]
      if sum == 0 then gone[#gone + 1] = field else set[#set + 1], set[#set + 2] = field, int(sum) end
    end
  end
  each('HSET', name, set)
  each('HDEL', name, gone)
end

-- Counts what is in hand, of queues and of groups.
local function count_hands()
  local parties = {}
  for party, n in pairs(hands) do
    if n ~= 0 then parties[#parties + 1] = party end
  end
  if #parties > 2 then return count_all('active', parties, hands) end
  for _, party in ipairs(parties) do
    if count('active', party, hands[party]) == 0 then redis.call('HDEL', key('active'), party) end
  end
end

local function flush()
  for field, n in pairs(tallies) do count('stats', field, n) end
  for queue, n in pairs(shares) do
    if n ~= 0 and count('active', queue .. '|shared', n) == 0 then redis.call('HDEL', key('active'), queue .. '|shared') end
  end
  count_hands()
  for queue, n in pairs(hands) do
    -- Those that had to wait for others of their queue to end may run now.
    if n < 0 and not string.find(queue, '/', 1, true) and settings(queue).at_a_time > 0 then
      if pending(queue) then touched[queue] = true end
      if room(queue) + n - (shares[queue] or 0) <= 0 then offer_parked(queue) end
    end
  end
  for _, party in ipairs(freed) do turns().offer(party) end
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
