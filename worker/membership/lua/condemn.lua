-- condemn: ends an incarnation's lease for good. The incarnation keeps its id
-- until it has left.
-- KEYS 1 leases
-- ARGV 1 incarnation  2 'ended' (its process saw it end) or 'expired' (only if its
--      lease, or an earlier caller's reservation, has run out)  3 ms for which the
--      caller reserves the hand-over
-- Returns 1 | {'LIVE'} (neither has run out) | {'GONE'} (it has left)
local score = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '')
if not score then return {'GONE'} end
local at = now()
if ARGV[2] == 'expired' and math.abs(score) > at then return {'LIVE'} end
writable(KEYS[1])
redis.call('ZADD', KEYS[1], int(-(at + tonumber(ARGV[3]))), ARGV[1])
return 1
