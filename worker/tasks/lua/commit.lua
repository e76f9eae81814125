-- Ends tasks that an incarnation has in hand, each with the effects that its
-- handler gave to the transaction. It numbers its commits; the same number
-- again returns the same answer.
-- KEYS 1 leases  2 stream  3 owned  4 tasks  5 tries  6 delayed  7 dead
--      8 reasons  9 done  10 results  11 stats  12 parked names  13 queues
-- ARGV 1 incarnation  2 commit number  3 queue prefix  4 idle prefix
--      5 wake prefix  6 due channel  7 parked prefix  8 how many tasks n,
--      9..8+n their ids, then for each task, in this order, a verb, its
--      arguments, the number of its effects and these:
--   done   ms to remember it or '', result or ''
--   later  ms to wait, tries
--   dead   tries, reason (JSON)
--   back   (to the front of its queue, as if never claimed)
--   park   name (nobody here handles it)
-- and of each effect its kind and its arguments:
--   save      entry key, lock key, lock token, value, ttl in ms
--   destroy   entry key, lock key, lock token
--   push      entry key, lock key, lock token, value
--   increment entry key, lock key, lock token, delta (an integer)
--   enqueue   id, queue, chosen, when, head, tail
--   publish   channel, message
-- Returns {'OK', position, code, position, code, …} naming only the tasks that
--         did not end: FENCED (not this incarnation's any more) or why an
--         effect was refused; these have changed nothing
--       | {'FENCED'} | {'GAP', last number} | {'WRONGTYPE', key}
local leases, stream, owned, tasks, tries = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local delayed, dead, reasons, done, results = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local stats, parked = KEYS[11], KEYS[12]
local incarnation, number = ARGV[1], tonumber(ARGV[2])
local K = {tasks = tasks, delayed = delayed, queues = KEYS[13], done = done,
  queue = ARGV[3], idle = ARGV[4], wake = ARGV[5], due = ARGV[6]}
local parkedprefix, n = ARGV[7], tonumber(ARGV[8])

local kinds = {'zset', 'hash', 'hash', 'hash', 'hash', 'zset', 'zset', 'hash', 'zset', 'hash', 'hash', 'set', 'set'}
for i, kind in ipairs(kinds) do
  if not fits(KEYS[i], kind) then return {'WRONGTYPE', KEYS[i]} end
end
if tonumber(redis.call('ZSCORE', leases, incarnation) or 0) <= 0 then return {'FENCED'} end
local last, answer = unpack(redis.call('HMGET', stream, 'commit', 'refused'))
last = tonumber(last or 0)
if number == last then
  local reply = {'OK'}
  for position, code in string.gmatch(answer or '', '(%d+)=(%w+)') do
    reply[#reply + 1] = tonumber(position)
    reply[#reply + 1] = code
  end
  return reply
end
if number ~= last + 1 then return {'GAP', int(last)} end

local held = {}
for from = 1, n, 500 do
  local to = math.min(from + 499, n)
  for _, value in ipairs(redis.call('HMGET', owned, unpack(ARGV, 8 + from, 8 + to))) do
    held[#held + 1] = value
  end
end

local widths = {done = 2, later = 2, dead = 2, back = 0, park = 1,
  save = 5, destroy = 3, push = 4, increment = 4, enqueue = 6, publish = 2}
local function refuses(kind, a)
  if kind == 'publish' then return nil end
  if kind == 'enqueue' then return add_refuses(K, ARGV[a + 1]) end
  return cache_refuses(kind, ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3])
end

writable(owned)
redis.call('HSET', stream, 'commit', int(number))
local at = now()
local touched, counts = {}, {}
local gone, untried, released = {}, {}, {}
local version -- of all entries that this commit writes

local function apply(kind, a)
  if kind ~= 'destroy' and kind ~= 'enqueue' and kind ~= 'publish' then
    version = version or cache_version(ARGV[a])
  end
  if kind == 'save' then cache_save(ARGV[a], ARGV[a + 3], ARGV[a + 4], version)
  elseif kind == 'destroy' then cache_destroy(ARGV[a])
  elseif kind == 'push' then cache_push(ARGV[a], ARGV[a + 3])
  elseif kind == 'increment' then cache_increment(ARGV[a], ARGV[a + 3], version)
  elseif kind == 'publish' then redis.call('PUBLISH', ARGV[a], ARGV[a + 1])
  else
    add(K, at, {id = ARGV[a], queue = ARGV[a + 1], chosen = ARGV[a + 2] == '1', when = ARGV[a + 3],
      head = ARGV[a + 4], tail = ARGV[a + 5]}, touched)
    redis.call('SADD', K.queues, ARGV[a + 1])
  end
end

local function finish(verb, id, queue, a)
  if verb == 'done' then
    gone[#gone + 1] = id
    untried[#untried + 1] = id
    if ARGV[a] ~= '' then
      redis.call('ZADD', done, int(at + tonumber(ARGV[a])), id)
      if ARGV[a + 1] ~= '' then redis.call('HSET', results, id, ARGV[a + 1]) end
    end
  elseif verb == 'later' then
    redis.call('HSET', tries, id, ARGV[a + 1])
    local due = at + tonumber(ARGV[a])
    redis.call('ZADD', delayed, int(due), id)
    if redis.call('ZRANGE', delayed, 0, 0)[1] == id then redis.call('PUBLISH', K.due, int(due)) end
  elseif verb == 'dead' then
    redis.call('HSET', tries, id, ARGV[a])
    redis.call('HSET', reasons, id, ARGV[a + 1])
    redis.call('ZADD', dead, int(at), id)
  elseif verb == 'back' then
    redis.call('RPUSH', K.queue .. queue, id)
    touched[queue] = true
  else -- park: every idle node of the queue looks whether it handles the name
    redis.call('LPUSH', parkedprefix .. ARGV[a], id)
    redis.call('SADD', parked, ARGV[a])
    for _, other in ipairs(redis.call('SMEMBERS', K.idle .. queue)) do redis.call('PUBLISH', K.wake .. other, '') end
  end
end

-- Why task i cannot end as asked, or nil. Reads only. c is where its verb is,
-- e where its effects are.
local function refuse(i, verb, c, e, effects)
  if not held[i] then return 'FENCED' end
  local list = verb == 'back' and K.queue .. string.match(held[i], '|(.*)$') or verb == 'park' and parkedprefix .. ARGV[c + 1]
  if list and not fits(list, 'list') then return 'WRONGTYPE' end
  local code
  for _ = 1, effects do
    code = code or refuses(ARGV[e], e + 1)
    e = e + 1 + widths[ARGV[e]]
  end
  if effects > 0 then cache_planned = {} end -- what was foreseen is done now, or will not be
  return code
end

local reply, noted = {'OK'}, {}
local c = 9 + n
for i = 1, n do
  local verb, id = ARGV[c], ARGV[8 + i]
  local e = c + 2 + widths[verb]
  local effects = tonumber(ARGV[e - 1])
  local code = refuse(i, verb, c, e, effects)
  if code then
    reply[#reply + 1] = i
    reply[#reply + 1] = code
    noted[#noted + 1] = i .. '=' .. code
  else
    finish(verb, id, string.match(held[i], '|(.*)$'), c + 1)
    released[#released + 1] = id
    counts[verb] = (counts[verb] or 0) + 1
  end
  for _ = 1, effects do
    if not code then apply(ARGV[e], e + 1) end
    e = e + 1 + widths[ARGV[e]]
  end
  c = e
end

local function forget(key, fields)
  for from = 1, #fields, 500 do
    redis.call('HDEL', key, unpack(fields, from, math.min(from + 499, #fields)))
  end
end
forget(owned, released)
forget(tasks, gone)
if redis.call('EXISTS', tries) == 1 then forget(tries, untried) end
for verb, count in pairs(counts) do redis.call('HINCRBY', stats, verb, count) end
if #noted > 0 or answer then redis.call('HSET', stream, 'refused', table.concat(noted, ',')) end
for queue in pairs(touched) do wake(K, queue) end
return reply
