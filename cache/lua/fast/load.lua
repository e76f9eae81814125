-- fast/load: the common case of load.lua: loads an entry and records the read.
-- KEYS 1 entry
-- Returns its bytes as they were before | nil (there is none) | {'EXPIRED'}
local entry = KEYS[1]

local raw = redis.call('GET', entry)
if not raw then
  return nil
end
if #raw < 55 then
  return raw -- not an entry: the reader will see
end
local at, expires = cache_digits(), string.sub(raw, 27, 39)
if expires <= at and expires ~= '0000000000000' then -- digits of the same length
  return {'EXPIRED'}
end
redis.pcall('SETRANGE', entry, 13, at) -- at maxmemory it is answered and not recorded
return raw
