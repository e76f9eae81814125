-- layout: checks before a program begins to work whether it may work in the namespace.
-- A program that is no node also writes its layout into a namespace without data,
-- unless the layout is 1, which is the default: so programs that only read do not
-- write anything.
-- KEYS 1 layout  2 epoch  3 tasks  4 members  5 leases
-- ARGV 1 oldest layout that the program takes over  2 layout that it writes
--      3 '1' for a node, which raises an older layout when it joins
-- Returns {'OK'} | {'LAYOUT', found, id of a live older node …} |
--   {'WRONGTYPE', key, type}
local most = tonumber(ARGV[2])
local refusal = admit(KEYS, tonumber(ARGV[1]), most, ARGV[3] == '1')
if refusal then return refusal end
if most > 1 and ARGV[3] ~= '1' then redis.call('SET', KEYS[1], ARGV[2], 'NX') end
return {'OK'}
