-- The common case of load.lua: load an entry, record the read.
-- KEYS: the entry
-- Returns its bytes as they were before, nil if there is none, 0 if it is expired.
local entry = KEYS[1]

local raw = redis.call('GET', entry)
if not raw then
  return nil
end
if #raw < 55 then
  return raw -- not an entry: it is told so by who reads it
end
local at, expires = cache_digits(), string.sub(raw, 27, 39)
if expires <= at and expires ~= '0000000000000' then -- digits of the same length
  return 0
end
redis.pcall('SETRANGE', entry, 13, at) -- at maxmemory it is answered and not recorded
return raw
