-- Ends tasks that an incarnation has in hand, each with the effects that its
-- handler gave to the transaction. It numbers its commits; the same number
-- again returns the same answer.
-- KEYS 1 leases  2 stream  3 owned  4 tasks  5 tries  6 delayed  7 dead
--      8 reasons  9 done  10 results  11 stats  12 parked names  13 queues
-- ARGV 1 incarnation  2 commit number  3 queue prefix  4 idle prefix
--      5 wake prefix  6 due channel  7 parked prefix  8 how many tasks p are
--      done and nothing more  9 how many others n, then the ids of the p and of
--      the n, then for each of the n, in this order, a verb, its arguments, the
--      number of its effects and these:
--   done   ms to remember it or '', result or ''
--   later  ms to wait, tries (the run has failed)
--   snooze ms to wait, tries (it asked for another time)
--   dead   tries, reason (JSON)
--   back   (to the front of its queue, as if it had never been claimed)
--   park   name (nobody here handles it)
-- and of each effect its kind and its arguments:
--   save      entry key, lock key, lock token, value, ttl in ms
--   destroy   entry key, lock key, lock token
--   push      entry key, lock key, lock token, value
--   increment entry key, lock key, lock token, delta (an integer)
--   enqueue   queue, chosen, when, head, id, tail
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
local parkedprefix, p, n = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])

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

-- Which of the tasks are in hand: by position.
local held = {}
for from = 1, p + n, 500 do
  local to = math.min(from + 499, p + n)
  for i, value in ipairs(redis.call('HMGET', owned, unpack(ARGV, 9 + from, 9 + to))) do
    held[from + i - 1] = value
  end
end

local widths = {done = 2, later = 2, snooze = 2, dead = 2, back = 0, park = 1,
  save = 5, destroy = 3, push = 4, increment = 4, enqueue = 6, publish = 2}
local function refuses(kind, a)
  if kind == 'publish' then return nil end
  if kind == 'enqueue' then return add_refuses(K, ARGV[a]) end
  return cache_refuses(kind, ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3])
end

writable(owned)
redis.call('HSET', stream, 'commit', int(number))
local at = now()
local touched, counts = {}, {}
local gone, released = {}, {} -- ids that end here, and that go elsewhere
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
    add(K, at, {queue = ARGV[a], chosen = ARGV[a + 1] == '1', when = ARGV[a + 2], head = ARGV[a + 3],
      ids = {ARGV[a + 4]}, tails = {ARGV[a + 5]}}, touched)
  end
end

local function finish(verb, id, a)
  if verb ~= 'done' then released[#released + 1] = id end
  if verb == 'done' then
    gone[#gone + 1] = id
    if ARGV[a] ~= '' then
      redis.call('ZADD', done, int(at + tonumber(ARGV[a])), id)
      if ARGV[a + 1] ~= '' then redis.call('HSET', results, id, ARGV[a + 1]) end
    end
  elseif verb == 'later' or verb == 'snooze' then
    redis.call('HSET', tries, id, ARGV[a + 1])
    local due = at + tonumber(ARGV[a])
    redis.call('ZADD', delayed, int(due), id)
    if redis.call('ZRANGE', delayed, 0, 0)[1] == id then redis.call('PUBLISH', K.due, int(due)) end
  elseif verb == 'dead' then
    redis.call('HSET', tries, id, ARGV[a])
    redis.call('HSET', reasons, id, ARGV[a + 1])
    redis.call('ZADD', dead, int(at), id)
  elseif verb == 'back' then
    local queue = queue_of(redis.call('HGET', tasks, id) or '') or ''
    redis.call('RPUSH', K.queue .. queue, id)
    touched[queue] = true
  else -- park: every idle node of the queue looks whether it handles the name
    redis.call('LPUSH', parkedprefix .. ARGV[a], id)
    redis.call('SADD', parked, ARGV[a])
    local queue = queue_of(redis.call('HGET', tasks, id) or '') or ''
    for _, other in ipairs(redis.call('SMEMBERS', K.idle .. queue)) do redis.call('PUBLISH', K.wake .. other, '') end
  end
end

-- Why task i cannot end as asked, or nil. Reads only. c is where its verb is,
-- e where its effects are.
local function refuse(i, verb, c, e, effects)
  if not held[i] then return 'FENCED' end
  local list = verb == 'park' and parkedprefix .. ARGV[c + 1]
    or verb == 'back' and K.queue .. (queue_of(redis.call('HGET', tasks, ARGV[9 + i]) or '') or '')
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
local function refusal(i, code)
  reply[#reply + 1] = i
  reply[#reply + 1] = code
  noted[#noted + 1] = i .. '=' .. code
end

for i = 1, p do
  if held[i] then
    gone[#gone + 1] = ARGV[9 + i]
  else
    refusal(i, 'FENCED')
  end
end
counts.done = #gone > 0 and #gone or nil

local c = 10 + p + n
for i = p + 1, p + n do
  local verb, id = ARGV[c], ARGV[9 + i]
  local e = c + 2 + widths[verb]
  local effects = tonumber(ARGV[e - 1])
  local code = refuse(i, verb, c, e, effects)
  if code then
    refusal(i, code)
  else
    finish(verb, id, c + 1)
    counts[verb] = (counts[verb] or 0) + 1
  end
  for _ = 1, effects do
    if not code then apply(ARGV[e], e + 1) end
    e = e + 1 + widths[ARGV[e]]
  end
  c = e
end

each('HDEL', owned, gone)
each('HDEL', owned, released)
each('HDEL', tasks, gone)
if redis.call('EXISTS', tries) == 1 then each('HDEL', tries, gone) end
for verb, count in pairs(counts) do redis.call('HINCRBY', stats, verb, count) end
if #noted > 0 or answer then redis.call('HSET', stream, 'refused', table.concat(noted, ',')) end
for queue in pairs(touched) do wake(K, queue) end
return reply
