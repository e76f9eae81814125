-- weigh: counts the bytes of some tasks of a queue that has got a bound on them. While that
-- goes on, the key weighing has, for each queue, the number of its weighing and when
-- somebody went on with it; the set weighed has the tasks that count already. New tasks
-- count at once. Who begins at the cursor 0 and goes on to the end has met every task:
-- another may begin at any time, as after a failure or a restart of Redis.
-- KEYS 1 tasks
-- ARGV 1 queue, or '' for any  2 number of the weighing, or '' to begin, where nobody has
--      gone on for some time  3 that time in ms  4 cursor  5 how many tasks are looked at
-- Returns {'OK', queue, number, cursor, or '0' at the end, bytes that were looked at} |
--   nil when nothing is to be done | {'WRONGTYPE', key}
local queue, number, idle, cursor = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local mistyped = wrong({'tasks', 'hash', 'weighing', 'hash', 'bytes', 'hash', 'done', 'zset', 'dead', 'zset', 'cancelled', 'zset', 'bodies', 'hash', 'steps', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local function weighing(of) return string.match(redis.call('HGET', key('weighing'), of) or '', '^(%d+)|(%d+)$') end
if queue == '' then
  for _, name in ipairs(redis.call('HKEYS', key('weighing'))) do
    if weighing(name) then
      queue = name
      break
    end
  end
end
local current, last = weighing(queue)
if not current then return nil end
mistyped = wrong({'weighed:' .. queue, 'set'})
if mistyped then return {'WRONGTYPE', mistyped} end
local at = now()
if number == '' and math.abs(at - last) < idle then return nil end
if number ~= current then cursor = '0' end

local weighed, ids, lengths, looked = 'weighed:' .. queue, {}, {}, 0
local page = redis.call('HSCAN', key('tasks'), cursor, 'COUNT', ARGV[5])
for i = 1, #page[2], 2 do
  local id, record = page[2][i], page[2][i + 1]
  looked = looked + #record
  if queue_of(line_of(record) or '|') == queue and not retained(record) then
    ids[#ids + 1] = id
    lengths[id] = #record
  end
end

-- Those that have ended, or count already, do not count.
for from = 1, #ids, 500 do
  local words = {unpack(ids, from, math.min(from + 499, #ids))}
  for _, place in ipairs({'done', 'dead', 'cancelled'}) do
    for i, score in ipairs(redis.call('ZMSCORE', key(place), unpack(words))) do
      if score then lengths[words[i]] = nil end
    end
  end
end
local sum, large = 0, #ids > 0 and redis.call('EXISTS', key('bodies'), key('steps')) > 0
for id, length in pairs(lengths) do
  if redis.call('SADD', key(weighed), id) == 1 then sum = sum + (large and size_of(id) or length) end
end
count('bytes', queue, sum)
if page[1] == '0' then
  redis.call('HDEL', key('weighing'), queue)
  redis.call('UNLINK', key(weighed))
else
  redis.call('HSET', key('weighing'), queue, current .. '|' .. int(at))
end
return {'OK', queue, current, page[1], looked}
