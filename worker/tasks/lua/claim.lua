-- Gives an incarnation tasks to run. It numbers its claims; the same number
-- again returns the same tasks, so that a claim whose reply was lost can be
-- sent again. A node that got fewer than it asked for is idle: the next task
-- of its queues wakes it.
-- KEYS 1 leases  2 stream  3 owned  4 tasks  5 tries  6 parked names
--      7.. the lists to claim from, the most urgent first
-- ARGV 1 incarnation  2 claim number  3 how many  4 '1' when it idled before
--      5 idle prefix  6 wake prefix  7.. for each list its queue, or '=name' for
--      the parked tasks of that name, which are of any queue
-- Returns {'OK', parked names, keys of the wrong type, id, queue, tries, record, id, …}
--       | {'FENCED'} (the incarnation is over) | {'EXPIRED'} (its lease ran out)
--       | {'GAP', last number} (Redis has forgotten claims) | {'WRONGTYPE', key}
local leases, stream, owned, tasks, tries, parked = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local incarnation, number, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local K = {idle = ARGV[5], wake = ARGV[6]}
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
local ids, queues = {}, {}
local broken, sound = {}, {}
if number == last then
  local all = redis.call('HGETALL', owned)
  local mine = '^' .. int(number) .. '|(.*)$'
  for i = 1, #all, 2 do
    local queue = string.match(all[i + 1], mine)
    if queue then ids[#ids + 1] = all[i] queues[#queues + 1] = queue end
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
    if not sound[i] then
      broken[#broken + 1] = KEYS[i]
    elseif #ids < want then
      local got = redis.call('RPOP', KEYS[i], want - #ids)
      if got then
        for _, id in ipairs(got) do ids[#ids + 1] = id queues[#queues + 1] = ARGV[i] end
      end
      if parkedname(i) and redis.call('EXISTS', KEYS[i]) == 0 then
        redis.call('SREM', parked, parkedname(i))
      end
    end
  end
end

local reply = {'OK', redis.call('SMEMBERS', parked), broken}
for from = 1, #ids, 500 do
  local to = math.min(from + 499, #ids)
  local records = redis.call('HMGET', tasks, unpack(ids, from, to))
  local tried = redis.call('HMGET', tries, unpack(ids, from, to))
  local own = {}
  for i = from, to do
    local record = records[i - from + 1]
    if record then -- a task deleted while it was queued has none
      local queue = queues[i]
      if string.sub(queue, 1, 1) == '=' then queue = queue_of(record) end
      own[#own + 1] = ids[i]
      own[#own + 1] = int(number) .. '|' .. queue
      reply[#reply + 1] = ids[i]
      reply[#reply + 1] = queue
      reply[#reply + 1] = tried[i - from + 1] or ''
      reply[#reply + 1] = record
    end
  end
  if #own > 0 then redis.call('HSET', owned, unpack(own)) end
end

local idle = #ids < want
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
return reply
