-- commit: ends tasks that an incarnation has in hand, each with the effects that its
-- handler gave to the transaction. It numbers its commits; the same number
-- again returns the same answer.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2 commit number
--      3 how many queues' speeds, then for each: queue, runs, how many of these
--      were first ones, µs that these waited, µs that all ran
--      then how many queues with tasks that are done and nothing more, then for
--      each: queue, how many, ids
--      then how many other tasks, then for each: id, line, deadline or '', verb, its arguments,
--      the number of its effects and these; before n of them that are done together or not at all: '&' and n:
--   done   ms for which its id stays taken (from now or, after @, from a later time) or '', ms to keep it and its result or '', result or ''
--   later  ms to wait, tries, what happened (JSON; the run has failed)
--   snooze ms to wait, tries (it asked for another time)
--   aside  ms to wait (it did not run, and may later: a suspect whose turn it is not)
--   dead   tries, reason (JSON)
--   back   (to the front of its line, as if it had never been claimed)
--   throttle ms that its group, or else its queue, rests (the task goes to the front of its line)
--   park   name (nobody here handles it; a tick is cancelled while an earlier one of its
--          periodic task is parked)
-- and of each effect what effects.lua says.
-- Returns {'OK', tasks that ended as 'cancelled' instead or with one of these, and
--         those of enqueue that are a 'duplicate' and were not stored (if there
--         are any, and not when it is asked again; see with_ended()),
--         position, code, position, code, …} naming only the tasks that
--         did not end: FENCED (not this incarnation's any more), EXPIRED (the body of
--         a task to enqueue is not there any more), APART (one that it was to be done
--         together with was cancelled, or is not this incarnation's) or why an effect was refused; these have changed nothing
--       | {'FENCED'} | {'GAP', last number} | {'WRONGTYPE', key}
local incarnation, number = ARGV[1], tonumber(ARGV[2])
local owned, stream = 'owned:' .. incarnation, key('stream:' .. incarnation)

if tonumber(redis.call('ZSCORE', key('leases'), incarnation) or 0) <= 0 then return {'FENCED'} end
local last, answer, solo = unpack(redis.call('HMGET', stream, 'commit', 'refused', 'solo'))
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
local mistyped = wrong({owned, 'hash', 'tasks', 'hash', 'stats', 'hash', 'settings', 'hash', 'active', 'hash', 'done', 'zset'}) or wrong_ties()
if mistyped then return {'WRONGTYPE', mistyped} end

local at = now()
local reply, noted, position = {'OK'}, {}, 0
local function refusal(i, code)
  reply[#reply + 1] = i
  reply[#reply + 1] = code
  noted[#noted + 1] = i .. '=' .. code
end

local speeds = tonumber(ARGV[3])
local c = 4 + 5 * speeds
local groups, first_group = tonumber(ARGV[c]), c + 1
c = first_group
for _ = 1, groups do c = c + 2 + tonumber(ARGV[c + 1]) end
local others, first_other = tonumber(ARGV[c]), c + 1
if others > 0 then
  mistyped = wrong({'dead', 'zset', 'reasons', 'hash', 'kept', 'zset', 'results', 'hash', 'retained', 'zset', 'parked', 'set', 'queues', 'set'})
  if mistyped then return {'WRONGTYPE', mistyped} end
end

writable(key(owned))
redis.call('HSET', stream, 'commit', int(number))
for i = 0, speeds - 1 do speed(4 + 5 * i, at) end

-- Tasks of one queue that are done and nothing more.
local function finish(queue, ids)
  local gone = {}
  for i, claim in ipairs(redis.call('HMGET', key(owned), unpack(ids))) do
    position = position + 1
    if claim then gone[#gone + 1] = ids[i] else refusal(position, 'FENCED') end
  end
  if #gone == 0 then return end
  if tied() then
    for _, id in ipairs(gone) do loosen(id, redis.call('HGET', key('tasks'), id), 'done', at) end
  end
  if settings(queue).bytes > 0 then
    for _, id in ipairs(gone) do weigh(queue, id, -1) end
  end
  each('HDEL', owned, gone)
  each('HDEL', 'tasks', gone)
  disembody(gone)
  unstep(gone)
  if exists('tries') then each('HDEL', 'tries', gone) end
  if exists('history') then each('HDEL', 'history', gone) end
  tally(queue, 'done', #gone)
  hand(queue, -#gone)
end

c = first_group
for _ = 1, groups do
  local queue, n = ARGV[c], tonumber(ARGV[c + 1])
  c = c + 2
  for from = c, c + n - 1, 500 do finish(queue, {unpack(ARGV, from, math.min(from + 499, c + n - 1))}) end
  c = c + n
end

local widths = {done = 3, later = 3, snooze = 2, aside = 1, dead = 2, back = 0, throttle = 1, park = 1}
local entries = {} -- in owned, of the tasks that end
local delays, returns = {later = true, snooze = true, aside = true}, {back = true, throttle = true}
-- Why a task cannot end as asked, or nil. Reads only. a is where the verb's
-- arguments are, e where its effects are.
local function refuse(id, line, verb, a, e, effects)
  entries[id] = redis.call('HGET', key(owned), id)
  if not entries[id] then return 'FENCED' end
  local list = verb == 'park' and 'parked:' .. queue_of(line) .. '|' .. ARGV[a]
  if verb == 'done' and ARGV[a + 1] ~= '' then list = 'retained:' .. hex(retention_end(at, tonumber(ARGV[a + 1]))) end
  if list and not fits(key(list), 'list') or returns[verb] and not takes(line) then return 'WRONGTYPE' end
  if delays[verb] and not fits(key('delayed:' .. queue_of(line)), 'zset') then return 'WRONGTYPE' end
  if verb == 'dead' and hook_refuses(redis.call('HGET', key('tasks'), id) or '') then return 'WRONGTYPE' end
  return effects_refused(e, effects)
end

-- Everybody idle of the queue looks whether it handles the name.
local function park(id, queue, name, at)
  local record = redis.call('HGET', key('tasks'), id)
  local tick = tick_field(id, record)
  if tick and redis.call('HSETNX', key('periodic'), tick, id) == 0 then
    cancel(id, record, '{"reason":"cancelled","error":"left out: another tick of this periodic task is parked, as no node handles it"}', at)
    return
  end
  if string.find(line_of(record) or '', '/', 1, true) then turns().mark(queue) end
  redis.call('LPUSH', key('parked:' .. queue .. '|' .. name), id)
  redis.call('SADD', key('parked'), queue .. '|' .. name)
  wake_all(queue)
end

local function done(id, queue, a)
  local taken, keep, result = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local record = (keep ~= '' or tied()) and redis.call('HGET', key('tasks'), id)
  if tied() then loosen(id, record, 'done', at) end
  weigh(queue, id, -1)
  unstep({id})
  local kept
  if keep == '' then
    redis.call('HDEL', key('tasks'), id)
    disembody({id})
    forget(id, {'tries', 'history'})
  else
    kept = retain(id, record, at, tonumber(keep), incarnation)
    if exists('history') and redis.call('HEXISTS', key('history'), id) == 1 then
      note(id, at, 'done', '{"node":' .. cjson.encode(incarnation) .. '}')
    end
  end
  local till = awaited[id] and at + 60000 -- it is remembered, see loosen()
  if taken ~= '' then
    local lasting, from = string.match(taken, '^(%d+)@?(%d*)$')
    till = math.max(at, tonumber(from) or 0) + lasting
  end
  if till and kept and till <= kept then -- its record is enough
    if awaited[id] then redis.call('ZREM', key('done'), id) end
  elseif taken ~= '' then
    redis.call('ZADD', key('done'), int(till), id)
  end
  if result == '' or not kept and not awaited[id] then return end
  if not kept and at + 60000 ~= till then redis.call('ZADD', key('kept'), int(at + 60000), id) end
  redis.call('HSET', key('results'), id, result)
end

-- Ends one task. It is in no place when this begins.
local function finish_as(verb, id, line, deadline, a)
  local queue, party = queue_of(line), string.find(line, '/', 1, true) and turns().party(line)
  local asked = verb ~= 'done' and verb ~= 'dead' and exists('cancelling') and redis.call('HGET', key('cancelling'), id)
  if exists('holders') and verb ~= 'aside' and verb ~= 'back' then turns().begin(id) end
  if verb == 'later' or verb == 'snooze' then redis.call('HSET', key('tries'), id, ARGV[a + 1]) end
  if verb == 'later' then
    note(id, at, 'failed', ARGV[a + 2])
    if not asked then tally(queue, 'failed', 1) end
  end
  if asked then cancel(id, redis.call('HGET', key('tasks'), id) or '', asked, at)
  elseif verb == 'done' then done(id, queue, a)
  elseif delays[verb] then
    if verb == 'aside' and party then turns().put_aside(id, party, turns().order(entries[id]))
    elseif settings(queue).strict and party then turns().hold(id, party) end
    delay(queue, at + tonumber(ARGV[a]), {id})
  elseif verb == 'dead' then
    redis.call('HSET', key('tries'), id, ARGV[a])
    bury(id, redis.call('HGET', key('tasks'), id) or '', ARGV[a + 1], at)
  elseif returns[verb] then
    if party or verb == 'throttle' then turns().give_back(line, id, turns().order(entries[id])) else push(line, {id}, 'RPUSH') end
    if verb == 'throttle' then
      tally(queue, 'throttled', 1)
      turns().rest(party or queue, at + tonumber(ARGV[a]))
    end
    touched[queue] = true
  else park(id, queue, ARGV[a], at)
  end
  if deadline ~= '' and not asked and verb ~= 'done' and verb ~= 'dead' then expire(deadline, {id}) end
  if verb == 'done' or verb == 'snooze' and not asked then tally(queue, verb == 'done' and 'done' or 'snoozed', 1) end
  hand(line, -1)
end

-- By position: why a task that is to be done together with others is not, or false.
local decided = {}
-- Decides on the next n tasks, from c on, of which all are done, or none. Reads only.
local function decide(c, n)
  local refused, apart = false, false
  for i = position + 1, position + n do
    local id, a = ARGV[c], c + 4
    local e = a + widths.done + 1
    local effects = tonumber(ARGV[e - 1])
    decided[i] = refuse(id, ARGV[c + 1], 'done', a, e, effects)
    refused = refused or decided[i] or false
    apart = apart or decided[i] == 'FENCED' or exists('cancelling') and redis.call('HEXISTS', key('cancelling'), id) == 1
    c = skip_effects(e, effects)
  end
  for i = position + 1, position + n do
    if decided[i] ~= 'FENCED' then decided[i] = apart and 'APART' or refused end
  end
end

c = first_other
for _ = 1, others do
  if ARGV[c] == '&' then
    decide(c + 2, tonumber(ARGV[c + 1]))
    c = c + 2
  end
  local id, line, deadline, verb = ARGV[c], ARGV[c + 1], ARGV[c + 2], ARGV[c + 3]
  local a = c + 4
  local e = a + widths[verb] + 1
  local effects = tonumber(ARGV[e - 1])
  position = position + 1
  local code = decided[position]
  if code == nil then code = refuse(id, line, verb, a, e, effects) end
  if code then
    refusal(position, code)
  else
    redis.call('HDEL', key(owned), id)
    part(incarnation, entries[id], queue_of(line))
    finish_as(verb, id, line, deadline, a)
  end
  c = apply_effects(e, effects, at, code)
end

-- A suspect that has ended is not the one that runs any more, even if this
-- incarnation claims it again: then it has to wait for its turn as before.
if solo and redis.call('HEXISTS', key(owned), solo) == 0 then redis.call('HDEL', stream, 'solo') end
if #noted > 0 or answer then redis.call('HSET', stream, 'refused', table.concat(noted, ',')) end
flush()
return with_ended(reply)
