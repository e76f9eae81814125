-- Stores a batch of new tasks. A producer numbers its batches; the number of
-- the last accepted one is kept, so that a batch whose reply was lost can be
-- sent again with the same result.
-- KEYS 1 tasks
-- ARGV 1 producer  2 batch number  3 ms to remember the producer
--      then groups of tasks that are alike, see adding.lua
-- Returns {'OK', position, code, …} naming only the tasks that were not stored,
--         from 1: see add() | {'WRONGTYPE', key}
local producer, batch, memory = key('producer:' .. ARGV[1]), tonumber(ARGV[2]), ARGV[3]

local last, answer = string.match(redis.call('GET', producer) or '0|', '^(%d+)|(.*)$')
if batch <= tonumber(last) then
  local reply = {'OK'}
  for position, code in string.gmatch(answer, '(%d+) (%S+)') do
    reply[#reply + 1] = tonumber(position)
    reply[#reply + 1] = code
  end
  return reply
end

local mistyped = wrong({'tasks', 'hash', 'queues', 'set', 'stats', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local groups, checked = {}, {}
local c = 4
while c <= #ARGV do
  local group
  group, c = read_group(c)
  mistyped = group_refuses(group, checked)
  if mistyped then return {'WRONGTYPE', mistyped} end
  groups[#groups + 1] = group
end

-- First of all, so that at maxmemory nothing has been written yet when this is refused.
redis.call('SET', producer, ARGV[2] .. '|', 'PX', memory)
local at, before, reply, noted = now(), 0, {'OK'}, {}
for _, group in ipairs(groups) do
  local refused = add(group, at, true)
  for i = 1, #refused, 2 do
    reply[#reply + 1] = before + refused[i]
    reply[#reply + 1] = refused[i + 1]
    noted[#noted + 1] = before + refused[i] .. ' ' .. refused[i + 1]
  end
  before = before + #group.ids
end
if #noted > 0 then redis.call('SET', producer, ARGV[2] .. '|' .. table.concat(noted, ' '), 'PX', memory) end
flush()
return reply
