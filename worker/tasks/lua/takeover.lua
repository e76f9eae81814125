-- Hands on what a condemned incarnation has in hand: to the front of the
-- queues, so that interrupted work goes first. A task that was running counts
-- a crash; one that was running in too many is quarantined.
-- KEYS 1 leases  2 stream  3 owned  4 tasks  5 tries  6 dead  7 reasons
--      8 stats  9 delayed
-- ARGV 1 incarnation  2 crashes that quarantine  3 queue prefix  4 idle prefix
--      5 wake prefix  6 how many tasks at most  7 'all' when nobody knows what
--      ran: then every task counts a crash, but of those that the next one
--      would quarantine (suspects, which run one at a time) only the one that
--      was announced;
--      'some' when only those named count  8 number of tasks to
--      leave alone (their handlers still run), 9.. their ids, then the ids of
--      tasks that were running
-- Returns {'OK', handed on, quarantined, left} | {'LIVE'} (not condemned) | {'WRONGTYPE', key}
local leases, stream, owned, tasks, tries = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local dead, reasons, stats, delayed = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local incarnation, limit, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[6])
local K = {queue = ARGV[3], idle = ARGV[4], wake = ARGV[5]}

local kinds = {'zset', 'hash', 'hash', 'hash', 'hash', 'zset', 'hash', 'hash', 'zset'}
for i, kind in ipairs(kinds) do
  if not fits(KEYS[i], kind) then return {'WRONGTYPE', KEYS[i]} end
end
if tonumber(redis.call('ZSCORE', leases, incarnation) or 0) > 0 then return {'LIVE'} end

local keep, blamed = {}, {}
local kept = tonumber(ARGV[8])
for i = 9, 8 + kept do keep[ARGV[i]] = true end
for i = 9 + kept, #ARGV do blamed[ARGV[i]] = true end

local ids = redis.call('HKEYS', owned)
local queues = {}
for from = 1, #ids, 500 do
  for i, record in ipairs(redis.call('HMGET', tasks, unpack(ids, from, math.min(from + 499, #ids)))) do
    local queue = record and queue_of(record)
    queues[from + i - 1] = queue or false
  end
end

writable(owned)
local at, touched = now(), {}
local moved, quarantined, left = 0, 0, 0
local solo = redis.call('HGET', stream, 'solo')
for i, id in ipairs(ids) do
  local queue = queues[i]
  if not queue then
    redis.call('HDEL', owned, id) -- deleted meanwhile, or unreadable
  elseif keep[id] or moved + quarantined >= most then
    left = left + 1
  else
    local ended
    local attempts, crashes = string.match(redis.call('HGET', tries, id) or '0|0', '^(%d+)|(%d+)$')
    if blamed[id] or (ARGV[7] == 'all' and (tonumber(crashes) < limit - 1 or id == solo)) then
      crashes = tonumber(crashes) + 1
      redis.call('HSET', tries, id, attempts .. '|' .. crashes)
      ended = crashes >= limit
      if ended then
        redis.call('HSET', reasons, id, '{"reason":"quarantined","error":"its node crashed ' .. crashes ..
          ' times while it ran","incarnation":' .. cjson.encode(incarnation) .. '}')
        redis.call('ZADD', dead, int(at), id)
        redis.call('HINCRBY', stats, 'quarantined', 1)
        quarantined = quarantined + 1
      end
    end
    if not ended then
      if fits(K.queue .. queue, 'list') then
        redis.call('RPUSH', K.queue .. queue, id)
        touched[queue] = true
      else -- something else's key: in a minute it may be mended
        redis.call('ZADD', delayed, int(at + 60000), id)
      end
      moved = moved + 1
    end
    redis.call('HDEL', owned, id)
  end
end
if moved > 0 then redis.call('HINCRBY', stats, 'handed on', moved) end
if left == 0 then
  for queue in string.gmatch(redis.call('HGET', stream, 'queues') or '', '%S+') do
    redis.call('SREM', K.idle .. queue, incarnation)
  end
  redis.call('DEL', owned, stream)
end
for queue in pairs(touched) do wake(K, queue) end
return {'OK', moved, quarantined, left}
