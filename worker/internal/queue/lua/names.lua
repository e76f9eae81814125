-- names: the keys and channels of the namespace. KEYS[1] of every script is the hash of
-- all tasks' records; its name begins as all others of the namespace do, and
-- redisbus/link/keys.go names them.
local tag = string.sub(KEYS[1], 1, -6)
local function key(name) return tag .. name end
local function channel(name) return string.sub(tag, 2, -3) .. ':' .. name end

-- The queue of a line.
local function queue_of(line) return (string.gsub(line, '[~^]$', '')) end

-- Wakes one process, or node, that idles for the queue, if there is any: it idles no more. One
-- whose channel nobody listens to is dead: the next is asked.
local function rouse(queue)
  local idle = key('idle:' .. queue)
  if not fits(idle, 'set') then return end -- the next claim reports it
  while true do
    local waker = redis.call('SPOP', idle)
    if not waker then return end
    if redis.call('PUBLISH', channel('wake:' .. waker), queue) > 0 then return end
  end
end

-- Whether somebody has to be woken for n tasks that came to a line, whose length is now
-- length: not while others wait there, for somebody was woken for those. If that one has
-- died, the hundredth wakes the next, or a mover does so within seconds.
local function rises(length, n) return length <= n or length % 100 < n end

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
