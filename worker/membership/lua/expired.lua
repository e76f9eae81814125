-- expired: lists the incarnations that may be taken over: their lease has run out, or
-- they are condemned and the reserved time for their hand-over is over.
-- If no process has called this script for half a lease (Redis was away, or all
-- processes were paused), nobody could renew leases either: then the list stays empty
-- for one lease, so that nodes have time to renew.
-- KEYS 1 leases  2 reaping
-- ARGV 1 lease in ms  2 how many at most
-- Returns {'OK', incarnation…}
local leases, reaping = KEYS[1], KEYS[2]
writable(leases)
local at, lease = now(), tonumber(ARGV[1])
local looked, hold = unpack(redis.call('HMGET', reaping, 'looked', 'hold'))
redis.call('HSET', reaping, 'looked', int(at))
if looked and at - tonumber(looked) > lease / 2 then
  hold = int(at + lease)
  redis.call('HSET', reaping, 'hold', hold)
end
if hold and at < tonumber(hold) then
  return {'OK'}
end
-- The score of a condemned incarnation is the negative of the time until which its
-- hand-over is reserved.
return {'OK', unpack(redis.call('ZRANGEBYSCORE', leases, int(-at), int(at), 'LIMIT', 0, ARGV[2]))}
