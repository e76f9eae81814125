-- add: adds client connections of one incarnation to the directory.
-- KEYS 1 the directory (hash: connection id to incarnation)  2 the
--      incarnation's connections (set of ids)
-- ARGV 1 incarnation  2.. connection ids
-- Returns {'OK', id…}: the ids that another incarnation holds, which were not added |
--         {'WRONGTYPE', key, type}
local directory, own = KEYS[1], KEYS[2]
local incarnation = ARGV[1]
for key, kind in pairs({[directory] = 'hash', [own] = 'set'}) do
  local fit, found = fits(key, kind)
  if not fit then return {'WRONGTYPE', key, found} end
end
local reply = {'OK'}
for i = 2, #ARGV do
  local holder = redis.call('HGET', directory, ARGV[i])
  if holder and holder ~= incarnation then
    reply[#reply + 1] = ARGV[i]
  else
    redis.call('HSET', directory, ARGV[i], incarnation)
    redis.call('SADD', own, ARGV[i])
  end
end
return reply
