-- Stores a batch of new tasks. A producer numbers its batches; the number of
-- the last accepted one is kept, so that a batch whose reply was lost can be
-- sent again with the same result.
-- KEYS 1 tasks  2 delayed  3 queues  4 done  5 producers  6 producers:seen
-- ARGV 1 producer  2 batch number  3 queue prefix  4 idle prefix  5 wake prefix
--      6 due channel, then for each task: id, queue, '1' when the caller chose
--      the id, when, head and tail of its record
-- Returns {'OK', positions of tasks whose id was taken, from 1}
--       | {'WRONGTYPE', key}
local K = {tasks = KEYS[1], delayed = KEYS[2], queues = KEYS[3], done = KEYS[4],
  queue = ARGV[3], idle = ARGV[4], wake = ARGV[5], due = ARGV[6]}
local producers, seen = KEYS[5], KEYS[6]
local producer, batch = ARGV[1], tonumber(ARGV[2])
local first, width = 7, 6

for key, kind in pairs({[K.tasks] = 'hash', [K.delayed] = 'zset', [K.queues] = 'set', [K.done] = 'zset',
    [producers] = 'hash', [seen] = 'zset'}) do
  if not fits(key, kind) then return {'WRONGTYPE', key} end
end

local last, taken = string.match(redis.call('HGET', producers, producer) or '0|', '^(%d+)|(.*)$')
if batch <= tonumber(last) then
  local reply = {'OK'}
  for position in string.gmatch(taken, '%d+') do reply[#reply + 1] = tonumber(position) end
  return reply
end

local checked = {}
for i = first, #ARGV, width do
  local queue = ARGV[i + 1]
  if not checked[queue] then
    if add_refuses(K, queue) then return {'WRONGTYPE', K.queue .. queue} end
    checked[queue] = true
  end
end

local at = now()
local reply, touched = {'OK'}, {}
-- First of all, so that at maxmemory nothing has been written yet when this is refused.
redis.call('HSET', producers, producer, int(batch) .. '|')
for i = first, #ARGV, width do
  local task = {id = ARGV[i], queue = ARGV[i + 1], chosen = ARGV[i + 2] == '1', when = ARGV[i + 3],
    head = ARGV[i + 4], tail = ARGV[i + 5]}
  if not add(K, at, task, touched) then reply[#reply + 1] = (i - first) / width + 1 end
end
if #reply > 1 then
  redis.call('HSET', producers, producer, int(batch) .. '|' .. table.concat(reply, ',', 2))
end
redis.call('ZADD', seen, int(at), producer)
for queue in pairs(checked) do redis.call('SADD', K.queues, queue) end
for queue in pairs(touched) do wake(K, queue) end
return reply
