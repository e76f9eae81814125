-- release: frees some of the locks that an incarnation holds, and announces that.
-- KEYS 1 index of the incarnation's locks
-- ARGV 1 incarnation  2 how many at most
-- Returns {'OK', how many were looked at, how many were freed}
local index = KEYS[1]
local incarnation, count = ARGV[1], ARGV[2]

local at, freed = cache_now(), 0
local locks = redis.call('SPOP', index, count)
for _, lock in ipairs(locks) do
  local holder, _, waited = cache_holder(lock, at)
  if holder and string.sub(holder, 18) == incarnation then
    cache_let_go(lock, waited)
    freed = freed + 1
  end
end
return {'OK', #locks, freed}
