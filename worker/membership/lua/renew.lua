-- renew: renews the leases of one process's nodes. An incarnation that is condemned or
-- has left is not renewed; a lease that has run out is renewed if nobody has condemned
-- the incarnation yet.
-- KEYS 1 leases
-- ARGV 1 lease in ms  2.. incarnations
-- Returns {'OK', 1 (renewed) or 0 for each} | {'WRONGTYPE', key, type}
local leases = KEYS[1]
local fit, found = fits(leases, 'zset')
if not fit then return {'WRONGTYPE', leases, found} end
writable(leases)
local deadline = int(now() + tonumber(ARGV[1]))
local reply = {'OK'}
for from = 2, #ARGV, 500 do
  local renewed = {}
  for i, score in ipairs(redis.call('ZMSCORE', leases, unpack(ARGV, from, math.min(from + 499, #ARGV)))) do
    local live = score and tonumber(score) > 0
    if live then
      renewed[#renewed + 1] = deadline
      renewed[#renewed + 1] = ARGV[from + i - 1]
    end
    reply[from + i - 1] = live and 1 or 0
  end
  if #renewed > 0 then redis.call('ZADD', leases, unpack(renewed)) end
end
return reply
