-- Stores a batch of new tasks. A producer numbers its batches; the number of
-- the last accepted one is kept, so that a batch whose reply was lost can be
-- sent again with the same result.
-- KEYS 1 tasks  2 delayed  3 queues  4 done  5 producer
-- ARGV 1 ms to remember the producer  2 batch number  3 queue prefix  4 idle prefix  5 wake prefix
--      6 due channel, then groups of tasks that are alike: queue, '1' when the
--      caller chose the ids, when, head of the record, how many, and for each
--      its id and the tail of its record
-- Returns {'OK', positions of tasks whose id was taken, from 1}
--       | {'WRONGTYPE', key}
local K = {tasks = KEYS[1], delayed = KEYS[2], queues = KEYS[3], done = KEYS[4],
  queue = ARGV[3], idle = ARGV[4], wake = ARGV[5], due = ARGV[6]}
local producer, memory, batch = KEYS[5], ARGV[1], tonumber(ARGV[2])

local kinds = {'hash', 'zset', 'set', 'zset', 'string'}
for i, kind in ipairs(kinds) do
  if not fits(KEYS[i], kind) then return {'WRONGTYPE', KEYS[i]} end
end

local last, answer = string.match(redis.call('GET', producer) or '0|', '^(%d+)|(.*)$')
if batch <= tonumber(last) then
  local reply = {'OK'}
  for position in string.gmatch(answer, '%d+') do reply[#reply + 1] = tonumber(position) end
  return reply
end

local groups, queues = {}, {}
local c = 7
while c <= #ARGV do
  local group = {queue = ARGV[c], chosen = ARGV[c + 1] == '1', when = ARGV[c + 2], head = ARGV[c + 3], ids = {}, tails = {}}
  local n = tonumber(ARGV[c + 4])
  c = c + 5
  for i = 1, n do
    group.ids[i] = ARGV[c]
    group.tails[i] = ARGV[c + 1]
    c = c + 2
  end
  if not queues[group.queue] then
    if add_refuses(K, group.queue) then return {'WRONGTYPE', K.queue .. group.queue} end
    queues[group.queue] = true
  end
  groups[#groups + 1] = group
end

local at = now()
local reply, touched, before = {'OK'}, {}, 0
-- First of all, so that at maxmemory nothing has been written yet when this is refused.
redis.call('SET', producer, ARGV[2] .. '|', 'PX', memory)
for _, group in ipairs(groups) do
  for _, i in ipairs(add(K, at, group, touched)) do reply[#reply + 1] = before + i end
  before = before + #group.ids
end
if #reply > 1 then
  redis.call('SET', producer, ARGV[2] .. '|' .. table.concat(reply, ',', 2), 'PX', memory)
end
for queue in pairs(touched) do wake(K, queue) end
return reply
