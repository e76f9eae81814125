-- enqueue: stores a batch of new tasks. A producer numbers its batches, of which several
-- may be on their way at once. What came of one is remembered as long as the
-- producer waits for it, so that a batch whose reply was lost can be sent again with
-- the same result. One that it does not wait for any more is not taken, however late
-- a copy comes.
-- KEYS 1 tasks
-- ARGV 1 producer  2 batch number  3 the smaller numbers for which the producer
--      waits too  4 the one of these that must have been stored before, or ''
--      5 ms to remember the producer
--      then groups of tasks that are alike, see adding.lua
-- Returns {'OK', tasks that were cancelled as they followed a cancelled one, position, code, …} naming only the tasks that were not stored,
--         from 1: see add() | {'EARLY'} (the other batch has not been stored)
--       | {'EXPIRED'} (a body is not there any more)
--       | {'WRONGTYPE', key}
local mistyped = wrong({'tasks', 'hash', 'queues', 'set', 'stats', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local groups, checked = {}, {}
local c = 6
while c <= #ARGV do
  local group
  group, c = read_group(c)
  mistyped = group_refuses(group, checked)
  if mistyped then return {'WRONGTYPE', mistyped} end
  if not embodied(group) then return {'EXPIRED'} end
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
return with_ended(reply)
