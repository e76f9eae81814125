-- finding: finds the place of one task.

-- Takes a task out of the sets of those that wait, and returns which one it was in:
-- delayed or blocked.
local function take_set(id, queue)
  if redis.call('ZREM', key('delayed:' .. queue), id) == 1 then return 'delayed' end
  if redis.call('HDEL', key('blocked'), id) == 1 then return 'blocked' end
end

-- Takes a task out of its line, and returns whether it was there. It looks from the end that is served first, as lists of tasks are
-- ordered: who takes many out in that order finds each at once, however long the line is.
local function take_line(id, line)
  local party = string.find(line, '/', 1, true) and turns().party(line)
  if redis.call('LREM', key('queue:' .. line), -1, id) > 0 or party and redis.call('LREM', key('queue:' .. party .. '!'), -1, id) > 0 then
    if party then turns().left(party, 1) end
    return true
  end
  return false
end

-- Takes a task out of the lists of those that wait, and returns which one it was in:
-- pending or parked.
local function take_list(id, line, record)
  if take_line(id, line) then return 'pending' end
  local list = queue_of(line) .. '|' .. (string.match(record, '^([^|\n]*)') or '')
  if redis.call('LREM', key('parked:' .. list), -1, id) > 0 then
    if redis.call('EXISTS', key('parked:' .. list)) == 0 then redis.call('SREM', key('parked'), list) end
    unparked(id, record)
    return 'parked'
  end
end

-- Takes a task out of its place and returns where that was: delayed, blocked,
-- pending, parked, dead, cancelled or done; an active one stays, and its owner
-- is returned as well; nil when it is nowhere.
local function take_out(id, record)
  if retained(record) then
    redis.call('ZREM', key('done'), id)
    return 'done'
  end
  local line = line_of(record) or ''
  local waits = take_set(id, queue_of(line))
  if waits then return waits end
  for _, place in ipairs({'dead', 'cancelled', 'done'}) do
    if redis.call('ZREM', key(place), id) == 1 then return place end
  end
  for _, incarnation in ipairs(lives()) do
    if redis.call('HEXISTS', key('owned:' .. incarnation), id) == 1 then return 'active', incarnation end
  end
  return take_list(id, line, record)
end

-- The first key that taking this task out would touch and that is something
-- else's, or nil.
local function record_refuses(record)
  local line = line_of(record) or ''
  local queue, name = queue_of(line), string.match(record, '^([^|\n]*)') or ''
  for place, kind in pairs({['delayed:' .. queue] = 'zset', ['queue:' .. line] = 'list', ['parked:' .. queue .. '|' .. name] = 'list'}) do
    if not fits(key(place), kind) then return key(place) end
  end
  if not takes(line) then return key('groups:' .. queue) end
end

-- The first key that mending touches and that is something else's, or nil.
local function mending_refuses()
  local mistyped = wrong({'tasks', 'hash', 'queues', 'set', 'done', 'zset', 'kept', 'zset', 'results', 'hash', 'dead', 'zset',
    'reasons', 'hash', 'settings', 'hash', 'active', 'hash', 'stats', 'hash', 'parked', 'set', 'leases', 'zset'}) or wrong_ties()
  if mistyped then return mistyped end
  for _, incarnation in ipairs(lives()) do
    mistyped = wrong({'owned:' .. incarnation, 'hash'})
    if mistyped then return mistyped end
  end
end
