-- names: the keys and channels of the namespace. KEYS[1] of every script is the hash of
-- all tasks' records; its name begins as all others of the namespace do, and
-- redisbus/link/keys.go names them.
-- KEYS[2], if there is one, names a database other than 0: channels are shared by all.
local tag = string.sub(KEYS[1], 1, -6)
local function key(name) return tag .. name end
local function channel(name)
  local base = string.sub(tag, 2, -3)
  if KEYS[2] then base = base .. ':' .. string.sub(KEYS[2], #tag + 1) end
  return base .. ':' .. name
end

-- Counts that a key holds an entry that is not ours, and that it is passed over or replaced.
local function alien(name)
  redis.pcall('HINCRBY', key('aliens'), key(name), 1)
  redis.pcall('PEXPIRE', key('aliens'), 86400000)
end

-- Adds to a count in a hash, and returns the sum. What is no number counts as 0.
local function count(name, field, n)
  local sum = redis.pcall('HINCRBY', key(name), field, int(n))
  if type(sum) == 'number' then return sum end
  redis.call('HSET', key(name), field, int(n))
  alien(name)
  return n
end

-- A count as a hash has it. What is no number counts as 0.
local function count_of(text)
  local digits = string.match(text or '', '^-?%d+$')
  return digits and #digits <= 15 and tonumber(digits) or 0
end

local function counted(name, field) return count_of(redis.call('HGET', key(name), field)) end

-- The sets of idle incarnations that serve the queue: those that name it in their
-- claims, then those whose stored list has it, see serve.lua.
local function idle_sets(queue)
  local sets, lists = {'idle:' .. queue}, redis.pcall('HGET', key('lists'), queue)
  for list in string.gmatch(type(lists) == 'string' and lists or '', '%S+') do sets[#sets + 1] = 'idlers:' .. list end
  return sets
end

-- Wakes one of a set, and returns whether there was one: it idles no more. One whose
-- channel nobody listens to is dead: the next is asked.
local function rouse_of(set)
  while true do
    local incarnation = redis.pcall('SPOP', key(set))
    if type(incarnation) ~= 'string' then return false end -- of a wrong type: the next claim reports it
    if redis.call('PUBLISH', channel('wake:' .. incarnation), '') > 0 then return true end
  end
end

-- Ends the idling of one incarnation that serves the queue, if there is any.
local function rouse(queue)
  if rouse_of('idle:' .. queue) then return end
  local sets = idle_sets(queue)
  for i = 2, #sets do
    if rouse_of(sets[i]) then return end
  end
end

-- Who tends a queue, and until when in ms on Redis's clock: an incarnation with room that claims
-- again before that time, so that nobody has to be woken. After a failover the clock may be
-- behind: no time is far ahead.
local function tender(queue, at)
  local text = redis.pcall('HGET', key('tended'), queue)
  local till, incarnation = string.match(type(text) == 'string' and text or '', '^(%d+)|(.+)$')
  till = till and #till <= 15 and tonumber(till)
  if till and till >= at and till <= at + 100 then return incarnation end
end

-- Ends the tending of a queue by an incarnation. Returns whether it did tend.
local function untend(queue, incarnation)
  local text = redis.pcall('HGET', key('tended'), queue)
  if type(text) ~= 'string' or string.match(text, '|(.+)$') ~= incarnation then return false end
  redis.call('HDEL', key('tended'), queue)
  return true
end

-- Whether somebody has to be woken for n tasks that came to a line, whose length is now
-- length: not while others wait there, for somebody was woken for those, and not while it is
-- tended. If that one has died, the hundredth wakes the next, or a mover does so within seconds.
local function rises(queue, length, n)
  return length % 100 < n and length >= 100 or length <= n and not tender(queue, now())
end

-- The queue is used.
local function known(queue) return redis.pcall('SADD', key('queues'), queue) end

-- Tasks have come to a line that was empty. Every queue with tasks in a line is in ready, and
-- what is in ready is in queues; it may stay in ready when it has none any more. Returns an
-- error as a table.
local function filled(queue)
  if redis.pcall('SADD', key('ready'), queue) == 0 then return false end
  local failed = known(queue)
  if type(failed) == 'table' then redis.pcall('SREM', key('ready'), queue) end
  return failed
end
