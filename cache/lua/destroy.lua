-- Destroys entries and lists.
-- KEYS: for each: the entry, its lock
-- ARGV: for each: holder's token or ''
-- Returns for each 1 if there was one, 0 if not, or why it was refused.
local answer = {}
for i, token in ipairs(ARGV) do
  local entry, lock = KEYS[2 * i - 1], KEYS[2 * i]
  local refused = cache_refuses('destroy', entry, lock, token)
  if refused then
    answer[i] = refused
  else
    local raw = fits(entry, 'string') and redis.call('GET', entry)
    local expired = raw and cache_expired(raw, cache_now())
    answer[i] = cache_destroy(entry) and not expired and 1 or 0
  end
end
return answer
