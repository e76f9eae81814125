-- Gives an incarnation tasks to run. It numbers its claims; the same number
-- again returns the same tasks, so that a claim whose reply was lost can be
-- sent again. A node that got fewer than it asked for is idle: the next task
-- of its queues wakes it.
-- KEYS 1 leases  2 stream  3 owned  4 tasks  5 tries  6 parked names
--      7.. the lists to claim from, the most urgent first
-- ARGV 1 incarnation  2 claim number  3 how many  4 '1' when it idled before
--      5 idle prefix  6 wake prefix  7.. for each list its queue, or '=name' for
--      the parked tasks of that name, which are of any queue
-- Returns {'OK', parked names, keys of the wrong type, {id, tries, …} of tasks
--         that were tried before, ids, records, 1 when the incarnation counts
--         as idle now, or 0}
--       | {'FENCED'} (the incarnation is over) | {'EXPIRED'} (its lease ran out)
--       | {'GAP', last number} (Redis has forgotten claims) | {'WRONGTYPE', key}
local leases, stream, owned, tasks, tries, parked = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local incarnation, number, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local K = {idle = ARGV[5], wake = ARGV[6]}
local most = 1048576 -- bytes of records in one reply, and one record more
local function parkedname(i) return string.match(ARGV[i], '^=(.*)$') end

for key, kind in pairs({[leases] = 'zset', [stream] = 'hash', [owned] = 'hash', [tasks] = 'hash', [tries] = 'hash', [parked] = 'set'}) do
  if not fits(key, kind) then return {'WRONGTYPE', key} end
end
local deadline = tonumber(redis.call('ZSCORE', leases, incarnation) or 0)
if deadline <= 0 then return {'FENCED'} end
if deadline <= now() then return {'EXPIRED'} end

local last = tonumber(redis.call('HGET', stream, 'claim') or 0)
if number ~= last and number ~= last + 1 then return {'GAP', int(last)} end

writable(owned)
local ids = {}
local broken, sound = {}, {}
if number == last then
  local all, mine = redis.call('HGETALL', owned), int(number)
  for i = 1, #all, 2 do
    if all[i + 1] == mine then ids[#ids + 1] = all[i] end
  end
else
  redis.call('HSET', stream, 'claim', int(number))
  if number == 1 then -- for whoever takes over: where this incarnation may stand as idle
    local served = {}
    for i = 7, #KEYS do
      if not parkedname(i) then served[#served + 1] = ARGV[i] end
    end
    redis.call('HSET', stream, 'queues', table.concat(served, ' '))
  end
  for i = 7, #KEYS do
    sound[i] = fits(KEYS[i], 'list')
    if not sound[i] then broken[#broken + 1] = KEYS[i] end
  end
end

local tried, records, known, own = {}, {}, {}, {}
local any = redis.call('EXISTS', tries) == 1
local bytes, asked = 0, 0
-- Takes the records of these ids into the reply, as far as they fit, and returns
-- how many it took.
local function take(some)
  local counts = any and redis.call('HMGET', tries, unpack(some))
  for i, record in ipairs(redis.call('HMGET', tasks, unpack(some))) do
    if bytes >= most and number ~= last then return i - 1 end
    asked = asked + 1
    if record then -- a task that was deleted while it was queued has none
      known[#known + 1] = some[i]
      records[#records + 1] = record
      bytes = bytes + #record
      own[#own + 1] = some[i]
      own[#own + 1] = ARGV[2]
      if counts and counts[i] then
        tried[#tried + 1] = some[i]
        tried[#tried + 1] = counts[i]
      end
    end
  end
  return #some
end

for from = 1, #ids, 500 do take({unpack(ids, from, math.min(from + 499, #ids))}) end
if number ~= last then
  for i = 7, #KEYS do
    -- A few first, then more at a time: large payloads must not add up to a
    -- reply that never arrives. What does not fit goes back where it was.
    local more, some = sound[i], 4
    while more and asked < want and bytes < most do
      local n = math.min(want - asked, some)
      local got = redis.call('RPOP', KEYS[i], n)
      for at = #(got or {}), got and take(got) + 1 or 1, -1 do redis.call('RPUSH', KEYS[i], got[at]) end
      more, some = got and #got == n, math.min(4 * some, 256)
    end
    if parkedname(i) and sound[i] and redis.call('EXISTS', KEYS[i]) == 0 then
      redis.call('SREM', parked, parkedname(i))
    end
  end
end
each('HSET', owned, own)
local reply = {'OK', redis.call('SMEMBERS', parked), broken, tried, known, records}

local idle = asked < want and bytes < most
if number ~= last and (idle or ARGV[4] == '1') then
  for i = 7, #KEYS do
    if not parkedname(i) then redis.call(idle and 'SADD' or 'SREM', K.idle .. ARGV[i], incarnation) end
  end
end
if not idle then -- there may be more: whoever idles takes it
  for i = 7, #KEYS do
    if not parkedname(i) and sound[i] and redis.call('LLEN', KEYS[i]) > 0 then wake(K, ARGV[i]) end
  end
end
reply[7] = idle and 1 or 0
return reply
