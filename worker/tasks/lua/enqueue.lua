-- Stores a batch of new tasks. A producer numbers its batches, of which several
-- may be on their way at once. What came of one is remembered until the producer
-- knows it, so that a batch whose reply was lost can be sent again with the same
-- result; those before that are not taken any more, however late a copy comes.
-- KEYS 1 tasks
-- ARGV 1 producer  2 batch number  3 the number up to which the producer waits for
--      no answer any more  4 the number of a batch that must have been stored
--      before, or ''  5 ms to remember the producer
--      then groups of tasks that are alike, see adding.lua
-- Returns {'OK', position, code, …} naming only the tasks that were not stored,
--         from 1: see add() | {'EARLY'} (the other batch has not been stored)
--       | {'WRONGTYPE', key}
local producer, batch, settled, behind = key('producer:' .. ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

-- Up to which number all is settled, then of each batch that was stored after it:
-- number, ':', position, code, …, ';'.
local seen, stored = string.match(redis.call('GET', producer) or '0|', '^(%d+)|(.*)$')
seen = tonumber(seen)
if batch <= seen then return {'OK'} end -- nobody waits for it
local remembered = ''
for number, refused in string.gmatch(stored, '(%d+):([^;]*);') do
  number = tonumber(number)
  if number == batch then
    local reply = {'OK'}
    for position, code in string.gmatch(refused, '(%d+) (%S+)') do
      reply[#reply + 1], reply[#reply + 2] = tonumber(position), code
    end
    return reply
  end
  if number == behind then behind = nil end
  if number > settled then remembered = remembered .. int(number) .. ':' .. refused .. ';' end
end
if behind and behind > settled then return {'EARLY'} end
remembered = int(math.max(seen, settled)) .. '|' .. remembered .. ARGV[2] .. ':'

local mistyped = wrong({'tasks', 'hash', 'queues', 'set', 'stats', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local groups, checked = {}, {}
local c = 6
while c <= #ARGV do
  local group
  group, c = read_group(c)
  mistyped = group_refuses(group, checked)
  if mistyped then return {'WRONGTYPE', mistyped} end
  groups[#groups + 1] = group
end

-- First of all, so that at maxmemory nothing has been written yet when this is refused.
redis.call('SET', producer, remembered .. ';', 'PX', ARGV[5])
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
if #noted > 0 then redis.call('SET', producer, remembered .. table.concat(noted, ' ') .. ';', 'PX', ARGV[5]) end
flush()
return reply
