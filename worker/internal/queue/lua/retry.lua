-- retry: brings dead and cancelled tasks back to their lines, as if they were new;
-- their steps stay, see step.lua.
-- KEYS 1 tasks
-- ARGV 1.. ids
-- Returns {'OK', for each id: 'retried', 'other' (neither dead nor cancelled),
--         'gone' (not stored), 'taken' (another task has its unique key) or
--         'broken' (a key of its queue is something else's)} | {'WRONGTYPE', key}
local mistyped = mending_refuses()
if mistyped then return {'WRONGTYPE', mistyped} end
local at, reply = now(), {'OK'}
writable(key('tasks'))

for i, id in ipairs(ARGV) do reply[i + 1] = revive(id, at) end
flush()
return reply
