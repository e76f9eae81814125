-- expired: lists the incarnations that may be taken over: their lease has run out, or
-- they are condemned and the reserved time for their hand-over is over.
-- If no process has called this script for half a lease (Redis was away, or all
-- processes were paused), nobody could renew leases either: then the list stays empty
-- for one lease, so that nodes have time to renew.
-- After Redis's clock has been ahead and gone back, what it noted then lies in the
-- future: that is cut to what it can be at most, counted from now.
-- Entries that are not ours are passed over, and some are returned.
-- KEYS 1 leases  2 reaping  3 members  4 aliens
-- ARGV 1 lease in ms  2 how many at most  3 the longest reservation of a hand-over in ms
-- Returns {'OK', incarnations, some leases that are not ours, keys in which scripts have met
--         such entries}
local leases, reaping, members = KEYS[1], KEYS[2], KEYS[3]
writable(leases)
local at, lease, longest = now(), tonumber(ARGV[1]), tonumber(ARGV[3])
local times = redis.call('HMGET', reaping, 'looked', 'hold', 'cut')
for i = 1, 3 do times[i] = tonumber(string.match(times[i] or '', '^%d+$') or '') end
local looked, hold, cut = unpack(times, 1, 3)
redis.call('HSET', reaping, 'looked', int(at))
if looked and at - looked > lease / 2 or hold and hold > at + lease then
  hold = at + lease
  redis.call('HSET', reaping, 'hold', int(hold))
end

local aliens = {}
local function ours(incarnation)
  local epoch = string.match(incarnation, '^[%w._:-]+#(%d+):%x+$')
  if epoch and #epoch <= 15 then return true end
  if #aliens < 10 then aliens[#aliens + 1] = incarnation end
  return false
end

-- Cuts the leases that end later than a lease of their length can, and the
-- reservations. The member record notes the length, and may be of an older program,
-- which does not.
local function cut_back()
  for _, incarnation in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. int(at + lease), '+inf')) do
    local record = ours(incarnation) and redis.call('HGET', members, string.match(incarnation, '^(.*)#')) or ''
    local length = string.match(record, '^([^\n]*)') == incarnation and string.match(record, '"lease":(%d+)')
    if length then redis.call('ZADD', leases, 'LT', int(at + tonumber(length)), incarnation) end
  end
  for _, incarnation in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. int(-at - longest))) do
    if ours(incarnation) then redis.call('ZADD', leases, int(-at - longest), incarnation) end
  end
end

-- Not at every look of every process: where some have longer leases, it reads their records.
if (not cut or math.abs(at - cut) >= lease / 8) and fits(members, 'hash') then
  redis.call('HSET', reaping, 'cut', int(at))
  cut_back()
end

-- The score of a condemned incarnation is the negative of the time until which its
-- hand-over is reserved.
local over, from, most = {}, 0, tonumber(ARGV[2])
if hold and at < hold then most = 0 end
repeat
  local some = redis.call('ZRANGEBYSCORE', leases, int(-at), int(at), 'LIMIT', from, 500)
  for _, incarnation in ipairs(some) do
    if ours(incarnation) and #over < most then over[#over + 1] = incarnation end
  end
  from = from + #some
until #some < 500 or #over >= most
return {'OK', over, aliens, redis.call('HKEYS', KEYS[4])}
