-- destroy: destroys entries and lists.
-- KEYS for each 1 entry  2 its lock
-- ARGV for each 1 holder's token or ''
-- Returns {'OK', how many there were, position, code…}: the positions, from 1, of
--         the keys that were refused, each with the code of cache_refuses
local reply, n = {'OK', 0}, 0
for i, token in ipairs(ARGV) do
  local entry, lock = KEYS[2 * i - 1], KEYS[2 * i]
  local refused = cache_refuses('destroy', entry, lock, token)
  if refused then
    reply[#reply + 1], reply[#reply + 2] = i, refused
  else
    local raw = fits(entry, 'string') and redis.call('GET', entry)
    local expired = raw and cache_expired(raw, cache_now(), entry)
    if cache_destroy(entry) and not expired then
      n = n + 1
    end
  end
end
reply[2] = n
return reply
