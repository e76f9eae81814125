-- Stores a batch of new tasks. A producer numbers its batches, of which several
-- may be on their way at once. They are taken in their order, however they arrive;
-- what came of one is remembered until the producer knows it, so that a batch
-- whose reply was lost can be sent again with the same result.
-- KEYS 1 tasks
-- ARGV 1 producer  2 batch number  3 the number up to which the producer waits for
--      no answer any more  4 ms to remember the producer
--      then groups of tasks that are alike, see adding.lua
-- Returns {'OK', position, code, …} naming only the tasks that were not stored,
--         from 1: see add() | {'EARLY'} (one before it has not arrived)
--       | {'WRONGTYPE', key}
local producer, batch, settled = key('producer:' .. ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- The last batch, then of those that may be asked for again and had refused tasks:
-- number, ':', position, code, …, ';'.
local last, answers = string.match(redis.call('GET', producer) or '0|', '^(%d+)|(.*)$')
last = tonumber(last)
if batch <= last then
  local reply = {'OK'}
  for number, refused in string.gmatch(answers, '(%d+):([^;]*);') do
    for position, code in string.gmatch(tonumber(number) == batch and refused or '', '(%d+) (%S+)') do
      reply[#reply + 1], reply[#reply + 2] = tonumber(position), code
    end
  end
  return reply
end
if batch - 1 ~= math.max(last, settled) then return {'EARLY'} end

local mistyped = wrong({'tasks', 'hash', 'queues', 'set', 'stats', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local groups, checked = {}, {}
local c = 5
while c <= #ARGV do
  local group
  group, c = read_group(c)
  mistyped = group_refuses(group, checked)
  if mistyped then return {'WRONGTYPE', mistyped} end
  groups[#groups + 1] = group
end

local remembered = ''
for number, refused in string.gmatch(answers, '(%d+):([^;]*);') do -- most have none
  if tonumber(number) > settled then remembered = remembered .. number .. ':' .. refused .. ';' end
end
-- First of all, so that at maxmemory nothing has been written yet when this is refused.
redis.call('SET', producer, ARGV[2] .. '|' .. remembered, 'PX', ARGV[4])
local at, before, reply, noted = now(), 0, {'OK'}, {}
for _, group in ipairs(groups) do
  local refused = add(group, at, true)
  for i = 1, #refused, 2 do
    local position, code = before + refused[i], refused[i + 1]
    reply[#reply + 1], reply[#reply + 2] = position, code
    noted[#noted + 1] = position .. ' ' .. code
  end
  before = before + group.many
end
if #noted > 0 then
  redis.call('SET', producer, ARGV[2] .. '|' .. remembered .. ARGV[2] .. ':' .. table.concat(noted, ' ') .. ';', 'PX', ARGV[4])
end
flush()
return reply
