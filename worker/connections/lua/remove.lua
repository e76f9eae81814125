-- remove: removes one client connection from the directory, if this incarnation holds it.
-- KEYS 1 the directory (hash: connection id to incarnation)  2 the
--      incarnation's connections (set of ids)
-- ARGV 1 incarnation  2 connection id
-- Returns 1 if the incarnation held it, else 0 | {'WRONGTYPE', key, type}
local directory, own = KEYS[1], KEYS[2]
local incarnation, id = ARGV[1], ARGV[2]
for key, kind in pairs({[directory] = 'hash', [own] = 'set'}) do
  local fit, found = fits(key, kind)
  if not fit then return {'WRONGTYPE', key, found} end
end
writable(directory)
redis.call('SREM', own, id)
if redis.call('HGET', directory, id) ~= incarnation then
  return 0
end
return redis.call('HDEL', directory, id)
