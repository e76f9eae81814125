-- due: looks after what only time moves: ends tasks that wait and whose deadline has
-- passed, brings delayed tasks that are due to their lines, forgets what was to be
-- kept until now, and the oldest of too many dead and cancelled tasks. One mover at a
-- time is responsible for that: one that has promised when it looks next, and keeps
-- that. The others find out from time to time whether it does.
--
-- On request a look also visits queues: some that have tasks, to wake an idle node: one that
-- had been woken for them may have died before it claimed; or some of all, to enter those
-- that older versions filled into the indexes ready and next.
-- KEYS 1 tasks
-- ARGV 1 how many of each at most  2 ms for which dead and cancelled tasks are
--      kept  3 how many of each are kept  4 the mover's id  5 'ready' to visit queues
--      that have tasks, or where in the set of all the visits go on (a cursor of SSCAN), or ''
-- Returns {'OK', tasks that ended, '1' when there is more to do at once,
--         µs until the next is due or has its deadline, or '' (of a mover that is not responsible:
--         until it has to find out), keys that should be queues and are not, ids of running tasks that are
--         to be cancelled, how many dead tasks were forgotten because there were
--         too many, '1' if the mover is responsible, where the visits of all queues go on, or ''}
--       | {'WRONGTYPE', key}
local most, lasting, bound, mover = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local patience = 1000 -- ms that the responsible mover may be late
local longest = 5000 -- ms between two of its looks

local function to_be_cancelled() return redis.call('HKEYS', key('cancelling')) end

-- When something is due of a queue, or the rest of a party is over.
local function first_time()
  local first = first_of('next')
  for _, name in ipairs({'resting', 'refills'}) do
    local time = exists(name) and fits(key(name), 'zset') and first_of(name)
    if time then first = math.min(first or time, time) end
  end
  return first
end

local at, beyond = now()
local promise = redis.pcall('GET', key('mover'))
local till, responsible = string.match(type(promise) == 'string' and promise or '', '^(%d+)|(.+)$')
if till and responsible ~= mover then
  local left = (tonumber(till) or 0) - at
  local first = first_time()
  if first then left = math.min(left, first + patience - at) end
  -- A promise for a later time was made while Redis's clock was ahead.
  if left > 0 and left <= longest + patience then return {'OK', '', int(left * 1000), {}, to_be_cancelled(), 0, '', ''} end
end

local mistyped = wrong({'tasks', 'hash', 'queues', 'set', 'ready', 'set', 'next', 'zset', 'done', 'zset', 'kept', 'zset', 'retained', 'zset', 'results', 'hash', 'tries', 'hash', 'dead', 'zset', 'reasons', 'hash', 'settings', 'hash', 'active', 'hash', 'parked', 'set', 'stats', 'hash'}) or wrong_ties()
if mistyped then return {'WRONGTYPE', mistyped} end

writable(key('mover'))
local broken, more, cursor = {}, false, ''

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
  local mistyped = record and (record_refuses(record) or hook_refuses(record))
  if mistyped then -- in a minute it may be mended
    broken[mistyped] = true
    redis.call('ZADD', key('deadlines'), int(at + 60000), id)
    return
  end
  redis.call('ZREM', key('deadlines'), id)
  -- An older program may have left the entry of an earlier task of the same id.
  local deadline = record and options_of(record).d
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
  for _, id in ipairs(late) do
    if search > 0 then end_late(id) else more = true end
  end
end

-- Moves what is due of one queue, and notes when its next task is due. left is how many
-- tasks the script may still move.
local left = most

local function of_group(id) return string.find(line_of(redis.call('HGET', key('tasks'), id)) or '', '/', 1, true) end

-- Tasks of groups that are due at the same time come in the order in which they were stored, as far as that is known.
local function in_order(ids, delayed)
  local dues, enqueued = redis.call('ZMSCORE', delayed, unpack(ids)), {}
  for i, id in ipairs(ids) do
    local record = redis.call('HGET', key('tasks'), id) or ''
    dues[id], enqueued[id] = tonumber(dues[i]), string.match(record, '^[^|\n]*|[^|\n]*|(%x*)') or ''
  end
  table.sort(ids, function(a, b)
    if dues[a] ~= dues[b] then return dues[a] < dues[b] end
    if enqueued[a] ~= enqueued[b] then return enqueued[a] < enqueued[b] end
    if #a ~= #b then return #a < #b end -- generated ids end with a number
    return a < b
  end)
end

local function bring(queue)
  local delayed = key('delayed:' .. queue)
  if not fits(delayed, 'zset') then -- found again by a visit when it is mended
    broken[delayed] = true
    redis.call('ZREM', key('next'), queue)
    return
  end
  local ids = left > 0 and redis.call('ZRANGEBYSCORE', delayed, '-inf', int(at), 'LIMIT', 0, left) or {}
  left = left - #ids
  if #ids > 1 and (of_group(ids[1]) or of_group(ids[#ids])) then in_order(ids, delayed) end
  local sound = {}
  for _, id in ipairs(ids) do
    local line = line_of(redis.call('HGET', key('tasks'), id))
    if line and sound[line] == nil then sound[line] = takes(line) end
    if line and not sound[line] then -- in a minute it may be mended
      redis.call('ZADD', delayed, int(at + 60000), id)
      broken[key('queue:' .. line)] = true
    else
      redis.call('ZREM', delayed, id)
      if line and come(line, id) then touched[queue_of(line)] = true end
    end
  end
  local first = first_of('delayed:' .. queue)
  if first then redis.call('ZADD', key('next'), int(first), queue) else redis.call('ZREM', key('next'), queue) end
end

local due = redis.call('ZRANGEBYSCORE', key('next'), '-inf', int(at), 'LIMIT', 0, 100)
for _, queue in ipairs(due) do bring(queue) end

-- Offers a turn to parties whose rest is over, or that have tokens again.
for _, name in ipairs({'resting', 'refills'}) do
  local parties = exists(name) and redis.call('ZRANGEBYSCORE', key(name), '-inf', int(at), 'LIMIT', 0, 100) or {}
  for _, party in ipairs(parties) do
    redis.call('ZREM', key(name), party)
    turns().offer(party)
  end
end

local offers = 200 -- how many groups a script may offer their turn in case that nobody has
local function visit_ready()
  local names = redis.call('SRANDMEMBER', key('ready'), 50)
  for i, text in ipairs(#names > 0 and redis.call('HMGET', key('settings'), unpack(names)) or {}) do note_settings(names[i], text) end
  for _, queue in ipairs(names) do
    if settings(queue).special and offers > 0 then offers = offers - turns().mend(queue, offers) end
    if pending(queue) then
      known(queue) -- an older version may have taken it out
      touched[queue] = true
    else
      emptied(queue)
    end
  end
end

-- Returns where the visits go on.
local function visit_queues(from)
  local to, names = unpack(redis.call('SSCAN', key('queues'), from, 'COUNT', 8)) -- a hundred microseconds
  if #names == 0 then return to end
  local lacking, keys = {}, {}
  for i, text in ipairs(redis.call('HMGET', key('settings'), unpack(names))) do
    note_settings(names[i], text)
    if settings(names[i]).special then turns().unmark(names[i]) end
  end
  local times, ready = redis.call('ZMSCORE', key('next'), unpack(names)), redis.call('SMISMEMBER', key('ready'), unpack(names))
  for i, queue in ipairs(names) do
    if not times[i] then lacking[#lacking + 1], keys[#keys + 1] = queue, key('delayed:' .. queue) end
    if ready[i] == 0 then
      for _, mark in ipairs({'^', '', '~'}) do keys[#keys + 1] = key('queue:' .. queue .. mark) end
      keys[#keys + 1] = key('groups:' .. queue)
    end
  end
  if #keys == 0 or redis.call('EXISTS', unpack(keys)) == 0 then return to end -- nearly always
  for i, queue in ipairs(names) do
    if ready[i] == 0 and pending(queue) then
      redis.call('SADD', key('ready'), queue)
      touched[queue] = true
    end
  end
  table.sort(lacking)
  for _, queue in ipairs(lacking) do bring(queue) end
  return to
end

if ARGV[5] == 'ready' then
  visit_ready()
elseif ARGV[5] ~= '' then
  cursor = visit_queues(ARGV[5])
end

-- The ids of a set whose time has come.
local function over(name, till)
  local ids = redis.call('ZRANGEBYSCORE', key(name), '-inf', int(till), 'LIMIT', 0, most)
  more = more or #ids == most
  for _, id in ipairs(ids) do redis.call('ZREM', key(name), id) end
  return ids
end

-- Forgets the tasks that were kept until now, see retaining.lua. Their ids may be of others by
-- now, and a list something else's.
local kept = most
for _, time in ipairs(redis.call('ZRANGEBYSCORE', key('retained'), '-inf', int(at), 'LIMIT', 0, 100)) do
  local list = key('retained:' .. time)
  local ids = kept > 0 and fits(list, 'list') and redis.call('LPOP', list, kept) or {}
  for i, record in ipairs(#ids > 0 and redis.call('HMGET', key('tasks'), unpack(ids)) or {}) do
    if retained(record) == time then erase(ids[i]) end
  end
  kept = kept - #ids
  if kept > 0 then redis.call('ZREM', key('retained'), time) end
end
more = more or (first_of('retained') or at + 1) <= at

if exists('rates') then over('rates', at * 1000) end -- these parties have all tokens

-- An id is free as soon as it is not remembered: nothing of its task may be left.
for _, id in ipairs(over('done', at)) do
  redis.call('ZREM', key('kept'), id)
  erase(id)
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

flush()
-- Deadlines last: tasks that followed a dropped one have none any more.
local nextup = first_time()
more = more or nextup and nextup <= at
if exists('deadlines') then nextup = math.min(first_of('deadlines') or math.huge, nextup or math.huge) end
if nextup == math.huge then nextup = nil end
local wait = nextup and math.max(0, nextup - at)
if type(promise) ~= 'table' then
  if promise and not till then alien('mover') end
  redis.call('SET', key('mover'), int(at + (more and 0 or math.min(wait or longest, longest)) + patience) .. '|' .. mover)
end
local keys = {}
for name in pairs(broken) do keys[#keys + 1] = name end
return with_ended({'OK', more and '1' or '', wait and int(math.max(0, wait * 1000 - beyond)) or '', keys, to_be_cancelled(), dropped, '1', cursor})
