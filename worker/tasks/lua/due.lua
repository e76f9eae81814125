-- Moves delayed tasks that are due to their queues, forgets completed ones whose
-- time has passed, and wakes an idle node for every queue that is not empty: one
-- that had been woken for it may have died before it claimed.
-- KEYS 1 tasks  2 delayed  3 done  4 results  5 queues
-- ARGV 1 how many at most  2 queue prefix  3 idle prefix  4 wake prefix
-- Returns {'1' when there is more to do at once, ms until the next is due or '',
--         keys that should be queues and are not} | {'WRONGTYPE', key}
local tasks, delayed, done, results = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local most = tonumber(ARGV[1])
local K = {queue = ARGV[2], idle = ARGV[3], wake = ARGV[4]}
local kinds = {'hash', 'zset', 'zset', 'hash', 'set'}
for i, kind in ipairs(kinds) do
  if not fits(KEYS[i], kind) then return {'WRONGTYPE', KEYS[i]} end
end

local at, touched, broken = now(), {}, {}
local ids = redis.call('ZRANGEBYSCORE', delayed, '-inf', int(at), 'LIMIT', 0, most)
local moves = {}
for _, id in ipairs(ids) do
  local record = redis.call('HGET', tasks, id)
  moves[#moves + 1] = record and queue_of(record) or false
end

if #ids > 0 then writable(delayed) end
for i, id in ipairs(ids) do
  local queue = moves[i]
  if queue and not fits(K.queue .. queue, 'list') then -- in a minute it may be mended
    redis.call('ZADD', delayed, int(at + 60000), id)
    broken[K.queue .. queue] = true
  else
    redis.call('ZREM', delayed, id)
    if queue then
      redis.call('LPUSH', K.queue .. queue, id)
      touched[queue] = true
    end
  end
end
for _, queue in ipairs(redis.call('SMEMBERS', KEYS[5])) do
  if touched[queue] or (fits(K.queue .. queue, 'list') and redis.call('EXISTS', K.queue .. queue) == 1) then wake(K, queue) end
end

local old = redis.call('ZRANGEBYSCORE', done, '-inf', int(at), 'LIMIT', 0, most)
for _, id in ipairs(old) do
  redis.call('ZREM', done, id)
  redis.call('HDEL', results, id)
end

local nextup = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
local wait = ''
if nextup[2] then wait = int(math.max(0, tonumber(nextup[2]) - at)) end
local keys = {}
for key in pairs(broken) do keys[#keys + 1] = key end
return {(#ids == most or #old == most) and '1' or '', wait, keys}
