-- Saves an entry, on a condition or without.
-- KEYS: the entry, its lock, and for who loads on behalf of others, the loader's lock
-- ARGV: value, ttl ms (0: none), ms to keep it stale after that, new version,
--   holder's token or '', then optionally: the version it must have ('': any,
--   '-': no entry), '1' to keep the lifetime it has, the loader's token
-- Returns OK, or why it was refused: a code of cache_refuses, CONFLICT (another
--   version), SUPERSEDED (the loader's lock is gone). The same write again is OK.
local entry, lock, loader = KEYS[1], KEYS[2], KEYS[3]
local value, ttl, stale, version, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local expected, keep, loading = ARGV[6] or '', ARGV[7], ARGV[8]

local refused = cache_refuses('save', entry, lock, token, value)
if refused then
  return refused
end
if loader and cache_barred(loader, loading, cache_now()) then
  return 'SUPERSEDED'
end
if expected ~= '' or keep == '1' then
  local raw = redis.call('GET', entry)
  local live = raw and not cache_expired(raw, cache_now())
  local expires, current = 0, nil
  if live then
    local _
    _, _, _, expires, current = cache_unpack(raw)
    if current and current == version then
      return 'OK'
    end
  end
  if expected ~= '' and (live and current or '-') ~= expected then
    return 'CONFLICT'
  end
  if keep == '1' and live and expires and expires > 0 then
    ttl = expires - cache_now()
    stale = redis.call('PTTL', entry) - ttl
  end
end
cache_save(entry, value, ttl, version, stale)
return 'OK'
