-- solo: notes which suspect an incarnation runs: a take-over counts a crash against it. It does
-- not hold its group any more.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2 id
-- Returns {'OK'} | {'FENCED'} (the incarnation is over) | {'WRONGTYPE', key}
local mistyped = wrong({'stream:' .. ARGV[1], 'hash', 'settings', 'hash', 'active', 'hash'}) or wrong_some(party_kinds())
if mistyped then return {'WRONGTYPE', mistyped} end
if tonumber(redis.call('ZSCORE', key('leases'), ARGV[1]) or 0) <= 0 then return {'FENCED'} end
writable(key('stream:' .. ARGV[1]))
redis.call('HSET', key('stream:' .. ARGV[1]), 'solo', ARGV[2])
turns().begin(ARGV[2])
flush()
return {'OK'}
