-- takeover: hands on what a condemned incarnation has in hand: to the front of the
-- lines, so that interrupted work goes first. A task that was running counts
-- a crash; one that was running in too many is quarantined, one that somebody
-- asked to cancel is cancelled.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2 crashes that quarantine  3 how many tasks at most
--      4 'all' when nobody knows what ran: then every task counts a crash, unless
--      the incarnation was asked to end (see resign), but
--      of those that the next one would quarantine (suspects, which run one at a
--      time) only the one that was announced; 'some' when only those named count
--      5 number of tasks to leave alone (their handlers still run), 6.. their
--      ids, then the ids of tasks that were running
-- Returns {'OK', tasks that ended, handed on, quarantined, left, cancelled} | {'LIVE'} (not condemned) | {'WRONGTYPE', key}
local incarnation, limit, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local owned, stream = 'owned:' .. incarnation, key('stream:' .. incarnation)

local mistyped = wrong({'leases', 'zset', 'stream:' .. incarnation, 'hash', owned, 'hash', 'tasks', 'hash', 'tries', 'hash', 'dead', 'zset', 'reasons', 'hash', 'stats', 'hash', 'settings', 'hash', 'active', 'hash', 'bytes', 'hash'}) or wrong_ties()
if mistyped then return {'WRONGTYPE', mistyped} end
if tonumber(redis.call('ZSCORE', key('leases'), incarnation) or 0) > 0 then return {'LIVE'} end

local keep, blamed = {}, {}
local kept = tonumber(ARGV[5])
for i = 6, 5 + kept do keep[ARGV[i]] = true end
for i = 6 + kept, #ARGV do blamed[ARGV[i]] = true end

local ids, entries, records = {}, {}, {}
for i, word in ipairs(redis.call('HGETALL', key(owned))) do
  if i % 2 == 1 then ids[#ids + 1] = word else entries[ids[#ids]] = word end
end
for from = 1, #ids, 500 do
  for i, record in ipairs(redis.call('HMGET', key('tasks'), unpack(ids, from, math.min(from + 499, #ids)))) do
    records[from + i - 1] = record
  end
end

writable(key(owned))
local at, crashed = now(), '{"node":' .. cjson.encode(incarnation) .. '}'
local moved, quarantined, cancelled, left = 0, 0, 0, 0
local solo, deliberate = unpack(redis.call('HMGET', stream, 'solo', 'asked'))

-- Counts a crash of the task's run, and returns how many it has had.
local function crash(id)
  local attempts, crashes = string.match(redis.call('HGET', key('tries'), id) or '', '^(%d+)|(%d+)$')
  attempts, crashes = attempts or '0', tonumber(crashes or 0)
  if not blamed[id] and not (ARGV[4] == 'all' and not deliberate and (crashes < limit - 1 or id == solo)) then return 0 end
  redis.call('HSET', key('tries'), id, attempts .. '|' .. crashes + 1)
  note(id, at, 'crashed', crashed)
  return crashes + 1
end

local function hand_on(id, line, record)
  local queue = queue_of(line)
  if takes(line) then
    if string.find(line, '/', 1, true) then turns().give_back(line, id, turns().order(entries[id])) else push(line, {id}, 'RPUSH') end
    touched[queue] = true
  else -- something else's key: in a minute it may be mended
    delay(queue, at + 60000, {id})
  end
  local deadline = options_of(record).d
  if deadline then expire(deadline, {id}) end
end

-- Tasks of groups go back in their order, the last one first: each to the front.
local order, grouped = {}, false
for i = 1, #ids do
  order[i] = i
  grouped = grouped or string.find(line_of(records[i]) or '', '/', 1, true)
end
if grouped then
  local orders = {}
  for i = 1, #ids do orders[i] = turns().order(entries[ids[i]]) end
  table.sort(order, function(a, b)
    if orders[a] ~= orders[b] then return orders[a] > orders[b] end
    return ids[a] < ids[b]
  end)
end
for _, i in ipairs(order) do
  local id, record = ids[i], records[i]
  local line = line_of(record)
  if not line then
    redis.call('HDEL', key(owned), id) -- deleted meanwhile, or unreadable
  elseif keep[id] or moved + quarantined + cancelled >= most or not placeable(line) then
    left = left + 1
  else
    local queue, crashes = queue_of(line), crash(id)
    local asked = exists('cancelling') and redis.call('HGET', key('cancelling'), id)
    redis.call('HDEL', key(owned), id)
    hand(line, -1)
    part(incarnation, entries[id], queue)
    if asked then
      cancel(id, record, asked, at)
      cancelled = cancelled + 1
    elseif crashes >= limit and not hook_refuses(record) then
      tally(queue, 'quarantined', 1)
      report(id, record, 'quarantined')
      bury(id, record, '{"reason":"quarantined","error":"its node crashed ' .. crashes ..
        ' times while it ran","incarnation":' .. cjson.encode(incarnation) .. '}', at)
      quarantined = quarantined + 1
    else
      hand_on(id, line, record)
      tally(queue, 'handedOn', 1)
      moved = moved + 1
    end
  end
end
local queues, list = unpack(redis.call('HMGET', stream, 'queues', 'list'))
if list and fits(key('idlers:' .. list), 'set') then redis.call('SREM', key('idlers:' .. list), incarnation) end
for queue in string.gmatch(queues or '', '%S+') do
  untend(queue, incarnation)
  if fits(key('idle:' .. queue), 'set') then redis.call('SREM', key('idle:' .. queue), incarnation) end
  if pending(queue) then touched[queue] = true end -- it tended these tasks, or was woken for them
end
if left == 0 then redis.call('DEL', key(owned), stream) end
flush()
return with_ended({'OK', moved, quarantined, left, cancelled})
