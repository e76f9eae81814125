-- expired: lists the incarnations that may be taken over: their lease has run out, or
-- they are condemned and the reserved time for their hand-over is over.
-- If no process has called this script for half a lease (Redis was away, or all
-- processes were paused), nobody could renew leases either: then the list stays empty
-- for one lease, so that nodes have time to renew.
-- After Redis's clock has been ahead and gone back, what it noted then lies in the
-- future: that is cut to what it can be at most, counted from now.
-- KEYS 1 leases  2 reaping  3 members
-- ARGV 1 lease in ms  2 how many at most  3 the longest reservation of a hand-over in ms
-- Returns {'OK', incarnation…}
local leases, reaping, members = KEYS[1], KEYS[2], KEYS[3]
writable(leases)
local at, lease, longest = now(), tonumber(ARGV[1]), tonumber(ARGV[3])
local looked, hold, cut = unpack(redis.call('HMGET', reaping, 'looked', 'hold', 'cut'))
redis.call('HSET', reaping, 'looked', int(at))
if looked and at - tonumber(looked) > lease / 2 or hold and tonumber(hold) > at + lease then
  hold = int(at + lease)
  redis.call('HSET', reaping, 'hold', hold)
end

-- Cuts the leases that end later than a lease of their length can, and the
-- reservations. The member record notes the length, and may be of an older program,
-- which does not.
local function cut_back()
  for _, incarnation in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. int(at + lease), '+inf')) do
    local record = redis.call('HGET', members, string.match(incarnation, '^(.*)#') or '') or ''
    local length = string.match(record, '^([^\n]*)') == incarnation and string.match(record, '"lease":(%d+)')
    if length and tonumber(redis.call('ZSCORE', leases, incarnation)) > at + length then
      redis.call('ZADD', leases, int(at + length), incarnation)
    end
  end
  for _, incarnation in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. int(-at - longest))) do
    redis.call('ZADD', leases, int(-at - longest), incarnation)
  end
end

-- Not at every look of every process: where some have longer leases, it reads their records.
if (not cut or math.abs(at - tonumber(cut)) >= lease / 8) and fits(members, 'hash') then
  redis.call('HSET', reaping, 'cut', int(at))
  cut_back()
end
if hold and at < tonumber(hold) then
  return {'OK'}
end
-- The score of a condemned incarnation is the negative of the time until which its
-- hand-over is reserved.
return {'OK', unpack(redis.call('ZRANGEBYSCORE', leases, int(-at), int(at), 'LIMIT', 0, ARGV[2]))}
