-- Frees some of the locks that an incarnation holds, and wakes who waits for them.
-- KEYS: the index of its locks
-- ARGV: the incarnation, how many at most
-- Returns how many it looked at, and how many were freed.
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
return {#locks, freed}
