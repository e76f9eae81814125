-- Takes up to so many client connections of a dead incarnation out of the directory.
-- KEYS[1]: the directory (hash: connection id -> incarnation)
-- KEYS[2]: the incarnation's connections (set of ids)
-- ARGV[1]: the incarnation
-- ARGV[2]: how many at most
-- Returns how many were looked at: 0 when all are gone.
local directory, own = KEYS[1], KEYS[2]
local incarnation, most = ARGV[1], tonumber(ARGV[2])
if not fits(directory, 'hash') or not fits(own, 'set') then
  return redis.error_reply('WRONGTYPE a key of the connections holds something else')
end
writable(directory)
local ids = redis.call('SPOP', own, most)
for _, id in ipairs(ids) do
  if redis.call('HGET', directory, id) == incarnation then
    redis.call('HDEL', directory, id)
  end
end
return #ids
