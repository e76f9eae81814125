-- due: looks after what only time moves: ends tasks that wait and whose deadline has
-- passed, brings delayed tasks that are due to their lines, forgets what was to be
-- kept until now, and the oldest of too many dead and cancelled tasks, and wakes an
-- idle node for every queue with tasks: one that had been woken for it may have died
-- before it claimed.
-- KEYS 1 tasks
-- ARGV 1 how many of each at most  2 ms for which dead and cancelled tasks are
--      kept  3 how many of each are kept
-- Returns {'OK', tasks that ended, '1' when there is more to do at once,
--         ms until the next is due or has its deadline, or '', keys that should be queues and are not, ids of running tasks that are
--         to be cancelled, how many dead tasks were forgotten because there were
--         too many} | {'WRONGTYPE', key}
local most, lasting, bound = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local mistyped = wrong({'tasks', 'hash', 'queues', 'set', 'done', 'zset', 'kept', 'zset', 'results', 'hash', 'tries', 'hash', 'dead', 'zset', 'reasons', 'hash', 'settings', 'hash', 'active', 'hash', 'parked', 'set', 'stats', 'hash'}) or wrong_ties()
if mistyped then return {'WRONGTYPE', mistyped} end

local at, broken, more, nextup = now(), {}, false, nil

-- Takes the first of a set into account for when there is more to do.
local function foresee(name)
  local first = redis.call('ZRANGE', key(name), 0, 0, 'WITHSCORES')[2]
  if first then nextup = math.min(nextup or math.huge, tonumber(first)) end
end

-- How many tasks a script may look at to find those whose deadline has passed: a
-- search through a million would hold everybody up for as long as 20 ms.
local search = 20000

-- Counts the tasks of a list that are served before this one, or all if it is too far.
local function look_through(list, id)
  local place = redis.call('LPOS', list, id, 'RANK', -1, 'MAXLEN', math.max(1, search))
  search = search - redis.call('LLEN', list) + (place or 0)
end

-- Ends a task that waits, at its deadline.
local function end_late(id)
  local record = redis.call('HGET', key('tasks'), id)
  local mistyped = record and record_refuses(record)
  if mistyped then -- in a minute it may be mended
    broken[mistyped] = true
    redis.call('ZADD', key('deadlines'), int(at + 60000), id)
    return
  end
  redis.call('ZREM', key('deadlines'), id)
  -- An older program may have left the entry of an earlier task of the same id.
  local deadline = record and tonumber(options_of(record).d)
  if not deadline or deadline > at then return end
  local line = line_of(record) or ''
  look_through(key('queue:' .. line), id)
  if take_set(id, queue_of(line)) or take_list(id, line, record) then
    bury(id, record, '{"reason":"deadline","error":"task deadline before it began"}', at)
    report(id, record, 'deadline')
  end
end

if exists('deadlines') then
  local many = math.min(most, 50) -- each may cost a search in a whole line
  local late = redis.call('ZRANGEBYSCORE', key('deadlines'), '-inf', int(at), 'LIMIT', 0, many)
  more = #late == many
  if #late > 0 then writable(key('deadlines')) end
  for _, id in ipairs(late) do
    if search > 0 then end_late(id) else more = true end
  end
end

-- Moves what is due of one queue.
local function bring(queue)
  local delayed = key('delayed:' .. queue)
  local ids = redis.call('ZRANGEBYSCORE', delayed, '-inf', int(at), 'LIMIT', 0, most)
  more = more or #ids == most
  if #ids > 0 then writable(delayed) end
  local sound = {}
  for _, id in ipairs(ids) do
    local line = line_of(redis.call('HGET', key('tasks'), id))
    if line and sound[line] == nil then sound[line] = fits(key('queue:' .. line), 'list') end
    if line and not sound[line] then -- in a minute it may be mended
      redis.call('ZADD', delayed, int(at + 60000), id)
      broken[key('queue:' .. line)] = true
    else
      redis.call('ZREM', delayed, id)
      if line then redis.call('LPUSH', key('queue:' .. line), id) end
    end
  end
  foresee('delayed:' .. queue)
end

for _, queue in ipairs(redis.call('SMEMBERS', key('queues'))) do
  if fits(key('delayed:' .. queue), 'zset') then bring(queue) else broken[key('delayed:' .. queue)] = true end
  if pending(queue) then touched[queue] = true end
end

-- The ids of a set whose time has come.
local function over(name, till)
  local ids = redis.call('ZRANGEBYSCORE', key(name), '-inf', int(till), 'LIMIT', 0, most)
  more = more or #ids == most
  for _, id in ipairs(ids) do redis.call('ZREM', key(name), id) end
  return ids
end

-- An id is free as soon as it is not remembered: nothing of its task may be left.
for _, id in ipairs(over('done', at)) do
  if redis.call('ZREM', key('kept'), id) == 1 then erase(id) end
end
for _, id in ipairs(over('kept', at)) do erase(id) end
if exists('unique:until') then
  for _, name in ipairs(over('unique:until', at)) do redis.call('HDEL', key('unique'), name) end
end

-- Forgets a task that had ended unhappily; what was to run after it never will.
local function drop(id)
  local record = redis.call('HGET', key('tasks'), id)
  if record then
    -- Redis's clock was ahead when this tick of a periodic task ran: it must not run again.
    local tick = options_of(record).T
    if tick and tick > at then redis.call('ZADD', key('done'), int(tick + lasting), id) end
    loosen(id, record, 'deleted', at)
    tally(queue_of(line_of(record) or ''), 'dropped', 1)
  end
  erase(id)
end

local dropped = 0
for _, name in ipairs({'dead', 'cancelled'}) do
  for _, id in ipairs(over(name, at - lasting)) do drop(id) end
  local excess = math.min(redis.call('ZCARD', key(name)) - bound, most)
  for _, id in ipairs(excess > 0 and redis.call('ZRANGE', key(name), 0, excess - 1) or {}) do
    redis.call('ZREM', key(name), id)
    drop(id)
    if name == 'dead' then dropped = dropped + 1 end
  end
end
if exists('deadlines') then foresee('deadlines') end -- now: tasks that followed a dropped one have none any more

flush()
local keys = {}
for name in pairs(broken) do keys[#keys + 1] = name end
return with_ended({'OK', more and '1' or '', nextup and int(math.max(0, nextup - at)) or '', keys,
  exists('cancelling') and redis.call('HKEYS', key('cancelling')) or {}, dropped})
