-- layout: whether a program may work in the namespace, before it begins to. Of a
-- namespace that nobody has used yet it notes the program's layout, unless that
-- is 1, which needs no note: so nothing is written by who only looks.
-- KEYS 1 layout  2 epoch  3 tasks  4 members  5 leases
-- ARGV 1 oldest layout that the program takes over  2 layout that it writes
--      3 '1' when it is a node, which raises an older layout when it joins
-- Returns {'OK'} | {'LAYOUT', found, id of a live older node …} |
--   {'WRONGTYPE', key, type}
local most = tonumber(ARGV[2])
local refusal = admit(KEYS, tonumber(ARGV[1]), most, ARGV[3] == '1')
if refusal then return refusal end
if most > 1 and ARGV[3] ~= '1' then redis.call('SET', KEYS[1], ARGV[2], 'NX') end
return {'OK'}
