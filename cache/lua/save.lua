-- Saves an entry.
-- KEYS: the entry, its lock
-- ARGV: value, ttl ms (0: none), ms to keep it stale after that, new version,
--   holder's token or ''
-- Returns OK, or why it was refused.
local entry, lock = KEYS[1], KEYS[2]
local value, ttl, stale, version, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local refused = cache_refuses('save', entry, lock, token, value)
if refused then
  return refused
end
cache_save(entry, value, ttl, version, stale)
return 'OK'
