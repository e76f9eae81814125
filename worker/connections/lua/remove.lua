-- Takes one client connection out of the directory, if this incarnation holds it.
-- KEYS[1]: the directory (hash: connection id -> incarnation)
-- KEYS[2]: the incarnation's connections (set of ids)
-- ARGV[1]: the incarnation
-- ARGV[2]: the connection id
-- Returns 1 if it was held, 0 if not.
local directory, own = KEYS[1], KEYS[2]
local incarnation, id = ARGV[1], ARGV[2]
if not fits(directory, 'hash') or not fits(own, 'set') then
  return redis.error_reply('WRONGTYPE a key of the connections holds something else')
end
writable(directory)
redis.call('SREM', own, id)
if redis.call('HGET', directory, id) ~= incarnation then
  return 0
end
return redis.call('HDEL', directory, id)
