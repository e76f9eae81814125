-- restore: saves an exported entry or part of a list.
-- KEYS 1 entry  2 its lock
-- ARGV 1 holder's token or ''  2 '1' to keep an existing key  3 created  4 read
--      5 expires, in ms or 0  6 new version  7 value, or '' for a list  8 for a
--      list, how many items earlier calls have restored  9.. its next items
-- Returns 1 | {'EXPIRED'} | {'EXISTS'} (the key exists, or the list has changed
--         since the earlier calls) | {code of cache_refuses}
local entry, lock = KEYS[1], KEYS[2]
local token, keep, created, read, expires = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local version, value, before = ARGV[6], ARGV[7], tonumber(ARGV[8])

local at = cache_now()
if expires > 0 and expires <= at then
  return {'EXPIRED'}
end
local refused = cache_refuses('destroy', entry, lock, token)
if refused then
  return {refused}
end
if before and before > 0 then
  if not fits(entry, 'list') or redis.call('LLEN', entry) ~= before then
    return {'EXISTS'}
  end
elseif keep == '1' and redis.call('EXISTS', entry) == 1 then
  return {'EXISTS'}
else
  cache_destroy(entry)
end
if before then
  for i = 9, #ARGV do
    cache_push(entry, ARGV[i])
  end
else
  redis.call('SET', entry, cache_pack(value, created, read, expires, version))
end
if expires > 0 then
  redis.call('PEXPIRE', entry, int(expires - at))
end
return 1
