-- forget: removes client connections of a dead incarnation from the directory.
-- KEYS 1 the directory (hash: connection id to incarnation)  2 the
--      incarnation's connections (set of ids)
-- ARGV 1 incarnation  2 how many at most
-- Returns how many of the incarnation's ids it removed, 0 if none is left |
--         {'WRONGTYPE', key, type}
local directory, own = KEYS[1], KEYS[2]
local incarnation, most = ARGV[1], tonumber(ARGV[2])
for key, kind in pairs({[directory] = 'hash', [own] = 'set'}) do
  local fit, found = fits(key, kind)
  if not fit then return {'WRONGTYPE', key, found} end
end
writable(directory)
local ids = redis.call('SPOP', own, most)
for _, id in ipairs(ids) do
  if redis.call('HGET', directory, id) == incarnation then
    redis.call('HDEL', directory, id)
  end
end
return #ids
