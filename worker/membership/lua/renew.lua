-- Renews the leases of one process's nodes. A lease that is gone or condemned
-- stays so; an expired one that nobody condemned yet is good again.
-- KEYS 1 leases
-- ARGV 1 lease in ms  2.. incarnations
-- Returns {'OK', 1 or 0 for each} | {'WRONGTYPE', key}
local leases = KEYS[1]
if not fits(leases, 'zset') then return {'WRONGTYPE', leases} end
writable(leases)
local deadline = int(now() + tonumber(ARGV[1]))
local reply = {'OK'}
for i = 2, #ARGV do
  local score = redis.call('ZSCORE', leases, ARGV[i])
  local live = score and tonumber(score) > 0
  if live then redis.call('ZADD', leases, deadline, ARGV[i]) end
  reply[i] = live and 1 or 0
end
return reply
