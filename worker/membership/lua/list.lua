-- list: lists the members that have joined and not left.
-- KEYS 1 members  2 leases
-- ARGV 1 prefix of the keys with the claimed tasks of an incarnation (Keys.Owned)
-- Returns {'OK', ms on Redis's clock, {record, deadline in ms, tasks in hand}…}
local reply = {'OK', int(now())}
local records = redis.call('HGETALL', KEYS[1])
for i = 2, #records, 2 do
  local incarnation = string.match(records[i], '^[^\n]*')
  local deadline = redis.call('ZSCORE', KEYS[2], incarnation)
  if deadline then
    reply[#reply + 1] = {records[i], deadline, redis.call('HLEN', ARGV[1] .. incarnation)}
  end
end
return reply
