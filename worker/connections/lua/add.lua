-- Enters client connections of one incarnation into the directory.
-- KEYS[1]: the directory (hash: connection id -> incarnation)
-- KEYS[2]: the incarnation's connections (set of ids)
-- ARGV[1]: the incarnation
-- ARGV[2..]: connection ids
-- Returns the ids that another incarnation holds, which were left alone.
local directory, own = KEYS[1], KEYS[2]
local incarnation = ARGV[1]
if not fits(directory, 'hash') or not fits(own, 'set') then
  return redis.error_reply('WRONGTYPE a key of the connections holds something else')
end
local taken = {}
for i = 2, #ARGV do
  local holder = redis.call('HGET', directory, ARGV[i])
  if holder and holder ~= incarnation then
    taken[#taken + 1] = ARGV[i]
  else
    redis.call('HSET', directory, ARGV[i], incarnation)
    redis.call('SADD', own, ARGV[i])
  end
end
return taken
