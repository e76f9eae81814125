-- list: lists the members that have joined and not left.
-- KEYS 1 members  2 leases
-- ARGV 1 prefix of the keys with the claimed tasks of an incarnation (Keys.Owned)
-- Returns {'OK', ms on Redis's clock, {id, record, deadline in ms or '' for none, tasks in hand}…}
local reply = {'OK', int(now())}
local deadlines, ends = {}, redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 1, #ends, 2 do deadlines[ends[i]] = ends[i + 1] end
local records = redis.call('HGETALL', KEYS[1])
for i = 2, #records, 2 do
  local incarnation = string.match(records[i], '^[^\n]*')
  local hand = redis.pcall('HLEN', ARGV[1] .. incarnation)
  reply[#reply + 1] = {records[i - 1], records[i], deadlines[incarnation] or '', type(hand) == 'number' and hand or 0}
end
return reply
