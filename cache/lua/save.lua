-- save: saves an entry, optionally on a condition. A repeated conditional save with
-- the same new version changes nothing.
-- KEYS 1 entry  2 its lock  3 for a computed value, the lock under which it is computed
-- ARGV 1 value  2 ms that the entry lives, 0 for ever  3 ms to keep it stale after that
--      4 new version  5 holder's token or ''  6 the version that the entry must have,
--      '' for any, '-' for no entry  7 '1' to keep the entry's lifetime  8 token of
--      KEYS 3
-- Returns 1, or with a version that Redis makes {'OK', version} | {'CONFLICT'} (another version) | {'SUPERSEDED'} (the token does not hold
--         KEYS 3) | {code of cache_refuses}
local entry, lock, loader = KEYS[1], KEYS[2], KEYS[3]
local value, ttl, stale, version, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local expected, keep, loading = ARGV[6] or '', ARGV[7], ARGV[8]

local refused = cache_refuses('save', entry, lock, token, value)
if refused then
  return {refused}
end
if loader and cache_barred(loader, loading, cache_now()) then
  return {'SUPERSEDED'}
end
if expected ~= '' or keep == '1' then
  local raw = redis.call('GET', entry)
  local live = raw and not cache_expired(raw, cache_now(), entry)
  local expires, current = 0, nil
  if live then
    local _
    _, _, _, expires, current = cache_unpack(raw, entry, cache_now())
    if current and current == version then
      return 1
    end
  end
  if expected ~= '' and (live and current or '-') ~= expected then
    return {'CONFLICT'}
  end
  if keep == '1' and live and expires and expires > 0 then
    ttl = expires - cache_now()
    stale = tonumber(redis.call('PTTL', entry)) - ttl
  end
end
cache_save(entry, value, ttl, version, stale)
return cache_saved(value)
