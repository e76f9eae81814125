-- fast/load: the common case of load.lua: loads an entry and records the read.
-- KEYS 1 entry
-- Returns the entry before the read was recorded | nil (no entry) | {'EXPIRED'}
local entry = KEYS[1]

local raw = redis.call('GET', entry)
if not raw then
  return nil
end
if #raw < 55 then
  return raw -- not an entry: the caller finds it malformed
end
local at, expires = cache_digits(), string.sub(raw, 27, 39)
if expires <= at and expires ~= '0000000000000' then -- digits of the same length
  return {'EXPIRED'}
end
redis.pcall('SETRANGE', entry, 13, at) -- pcall: at maxmemory the read is not recorded, but the load works
return raw
