-- Destroys an entry or a list.
-- KEYS: the entry, its lock
-- ARGV: holder's token or ''
-- Returns 1 if there was one, 0 if not, or why it was refused.
local entry, lock = KEYS[1], KEYS[2]
local token = ARGV[1]

local refused = cache_refuses('destroy', entry, lock, token)
if refused then
  return refused
end
local raw = fits(entry, 'string') and redis.call('GET', entry)
local expired = raw and cache_expired(raw, cache_now())
return cache_destroy(entry) and not expired and 1 or 0
