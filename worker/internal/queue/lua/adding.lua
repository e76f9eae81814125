-- adding: new tasks, and what keeps one from being stored. A group of tasks that are
-- alike has: line, marks ('c': the caller chose the ids; 'w': it waits for the ends,
-- which are announced; 'g': the line is that of a group; then '@' and the body, see bodies.lua, of a group of one task that has one), when ('' for now, '+ms' or '@ms' on Redis's clock), head of their records, unique (a key that only one
-- stored task has, or ''), lasting (ms that the key is taken, or '': until the
-- task ends), after (ids of the tasks that must be done first), deadline (on
-- Redis's clock, or ''), how many they are, and first: where in the arguments their ids and the tails of their
-- records are.
-- gives: group_words, read_group, group_refuses, embodied, settle, add

local group_words = 9 -- in the arguments: these, then id and tail of each

-- Reads a group from position c on, and returns it with the position after it.
local function read_group(c)
  local line, marks, many = ARGV[c], ARGV[c + 1], tonumber(ARGV[c + 8])
  local body
  if #marks > 3 then marks, body = string.match(marks, '^(%a*)@(.*)$') end
  local function has(mark) return string.find(marks, mark, 1, true) ~= nil end
  return {line = line, queue = queue_of(line), chosen = has('c'), awaited = has('w'), grouped = has('g'), body = body, when = ARGV[c + 2], head = ARGV[c + 3],
    unique = ARGV[c + 4], lasting = ARGV[c + 5], after = ARGV[c + 6], deadline = ARGV[c + 7], many = many, first = c + group_words},
    c + group_words + 2 * many
end

-- The key that storing a group writes and that is something else's, or nil;
-- besides tasks, queues and stats. checked holds those that were looked at.
local function group_refuses(group, checked)
  local set, line = settings(group.queue), 'queue:' .. group.line
  if group.body and not fits(key('bodies'), 'hash') then return key('bodies') end
  if group.when == '' and not group.chosen and not group.awaited and group.unique == '' and group.after == '' and group.deadline == '' and not group.grouped and set == unset then -- most are
    if not checked[line] and not fits(key(line), 'list') then return key(line) end
    checked[line] = true
    return
  end
  local kinds = {line, 'list'}
  local function also(name, kind) kinds[#kinds + 1], kinds[#kinds + 2] = name, kind end
  if group.when ~= '' or set.most > 0 then also('delayed:' .. group.queue, 'zset') end
  if group.chosen or group.awaited or group.after ~= '' then also('done', 'zset') end
  if group.awaited then
    also('waiting', 'hash')
    also('dead', 'zset')
    also('cancelled', 'zset')
  end
  if set.most > 0 then
    also('active', 'hash')
    for _, mark in ipairs({'^', '', '~'}) do also('queue:' .. group.queue .. mark, 'list') end
    also('grouped', 'hash')
  end
  if group.grouped then
    also('groups:' .. group.queue, 'zset')
    also('queue:' .. turns().party(group.line) .. '!', 'list')
  end
  if set.bytes > 0 then
    also('bytes', 'hash')
    also('weighing', 'hash')
    also('weighed:' .. group.queue, 'set')
  end
  if group.deadline ~= '' then also('deadlines', 'zset') end
  for i = 1, #kinds, 2 do
    if not checked[kinds[i]] then
      checked[kinds[i]] = true
      if not fits(key(kinds[i]), kinds[i + 1]) then return key(kinds[i]) end
    end
  end
  if (group.unique ~= '' or group.after ~= '' or group.grouped) and not checked.binding then
    checked.binding = true
    return binding.refuses()
  end
end

-- Whether the body of a group is there, if it is to have one.
local function embodied(group)
  if not group.body then return true end
  local body, bytes = body_of(group.body)
  return redis.call('STRLEN', body) == bytes
end

-- Gives the body of a group to its task, or removes it: id is nil when the task was refused.
-- A body without an expiry is that of the same task, which an earlier copy has stored.
local function settle(body, id)
  local name = body_of(body)
  if id then
    redis.call('PERSIST', name)
    redis.call('HSET', key('bodies'), id, body)
  elseif redis.call('PTTL', name) >= 0 then
    redis.call('UNLINK', name)
  end
end

-- How many tasks of the queue wait for their turn or their time, or run.
local function load_of(queue)
  local n = redis.call('ZCARD', key('delayed:' .. queue)) + counted('active', queue)
  for _, mark in ipairs({'^', '', '~'}) do n = n + redis.call('LLEN', key('queue:' .. queue .. mark)) end
  if settings(queue).special then n = n + counted('grouped', queue) end
  return n
end

-- Ids that this script did not store, and why: what is to follow such a task
-- must not run as if that were done.
local unstored = {}

-- Why a group cannot follow, or nil.
local function orphaned(group)
  for other in string.gmatch(group.after, '%S+') do
    if unstored[other] then return unstored[other] end
  end
end

-- Has the end of a stored task announced.
local function await(id)
  redis.call('HSET', key('waiting'), id, 1)
  if binding then binding.awaited() end
end

-- Has the end of the task announced that keeps another from being stored, unless it has ended.
local function await_holder(id)
  local record = redis.call('HGET', key('tasks'), id)
  if not record or retained(record) then return end
  for _, place in ipairs({'done', 'dead', 'cancelled'}) do
    if redis.call('ZSCORE', key(place), id) then return end
  end
  await(id)
end

-- The code why a task of a group is not stored, or nil. rest and bytes are how
-- much room is left for it.
local function refusal_of(group, id, size, rest, bytes, at)
  if group.chosen and (redis.call('HEXISTS', key('tasks'), id) == 1 or redis.call('ZSCORE', key('done'), id)) then
    return 'taken'
  end
  if rest <= 0 or size > bytes then return 'full' end
  local why = group.after ~= '' and orphaned(group) or nil
  local holder = not why and group.unique ~= '' and binding.seize(group, id, at)
  return holder and 'unique=' .. holder or why
end

-- Stores the records of a group of which some may be refused. Returns the ids
-- that were stored, and {position, code, …} of the others.
local function store_some(group, head, rest, bytes, at)
  local fresh, words, refused, weight, c = {}, {}, {}, 0, group.first
  local more = group.body and select(2, body_of(group.body)) or 0
  for i = 1, group.many do
    local id, record = ARGV[c], head .. ARGV[c + 1]
    local why = refusal_of(group, id, #record + more, rest - #fresh, bytes - weight, at)
    unstored[id] = why ~= 'taken' and why or nil
    if why then
      if group.awaited and why ~= 'full' then await_holder(string.match(why, '^unique=(.*)$') or id) end
      refused[#refused + 1], refused[#refused + 2] = i, why
    else
      fresh[#fresh + 1] = id
      weight = weight + #record + more
      if group.chosen then -- the same id may come again in this group
        redis.call('HSET', key('tasks'), id, record)
      else
        words[#words + 1], words[#words + 2] = id, record
      end
    end
    c = c + 2
  end
  each('HSET', 'tasks', words)
  if settings(group.queue).bytes > 0 and weight > 0 then
    count('bytes', group.queue, weight)
    if redis.call('HEXISTS', key('weighing'), group.queue) == 1 then each('SADD', 'weighed:' .. group.queue, fresh) end
  end
  return fresh, refused
end

-- Stores the records of a group of which none can be refused, and returns the ids.
local function store_all(group, head)
  local ids, words, c = {}, {}, group.first
  for i = 1, group.many do
    local id = ARGV[c]
    ids[i], words[2 * i - 1], words[2 * i] = id, id, head .. ARGV[c + 1]
    c = c + 2
  end
  each('HSET', 'tasks', words)
  return ids
end

-- Stores a group. bounded: the queue's limits on tasks and bytes count. Returns
-- {position, code, …} of those that were not stored: 'taken', 'full', or
-- 'unique=' and who has the key.
local function add(group, at, bounded)
  local queue, set, head = group.queue, settings(group.queue), group.head .. hex(at)
  local rest = bounded and set.most > 0 and set.most - load_of(queue) or math.huge
  local bytes = bounded and set.bytes > 0 and set.bytes - counted('bytes', queue) or math.huge
  local fresh, refused
  if group.chosen or group.unique ~= '' or group.after ~= '' or rest < math.huge or set.bytes > 0 then
    fresh, refused = store_some(group, head, rest, bytes, at)
  else
    fresh, refused = store_all(group, head), {}
  end
  if group.body then settle(group.body, fresh[1]) end
  if #fresh == 0 then return refused end
  tally(queue, 'enqueued', #fresh)
  if group.deadline ~= '' then expire(group.deadline, fresh) end
  if group.awaited then
    for _, id in ipairs(fresh) do await(id) end
  end

  local ready = group.after == '' and fresh or binding.hold(group, fresh, at)
  if #ready < #fresh then known(queue) end
  if #ready == 0 then return refused end
  local due
  if group.when ~= '' then
    due = tonumber(string.sub(group.when, 2))
    if string.sub(group.when, 1, 1) == '+' then due = at + due end
  end
  if due and due > at then
    known(queue)
    delay(queue, due, ready)
  else
    if push(group.line, ready) then touched[queue] = true end
  end
  return refused
end
