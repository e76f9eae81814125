-- Ends an incarnation's lease for good. It keeps its id until it has left.
-- KEYS 1 leases
-- ARGV 1 incarnation  2 'ended' (its process saw it end) or 'expired' (only
--      when its lease has run out)
-- Returns 'OK' | 'LIVE' (expired, but it is not) | 'GONE' (it has left)
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score then return 'GONE' end
if ARGV[2] == 'expired' and tonumber(score) > now() then return 'LIVE' end
writable(KEYS[1])
redis.call('ZADD', KEYS[1], 0, ARGV[1])
return 'OK'
