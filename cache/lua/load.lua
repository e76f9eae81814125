-- Loads an entry and records that it was read.
-- KEYS: the entry
-- Returns its bytes as they were before, nil if there is none, 0 if it is expired.
local entry = KEYS[1]

local raw = redis.call('GET', entry)
if not raw then
  return nil
end
local at = cache_now()
if cache_expired(raw, at) then
  return 0
end
cache_record(entry, raw, at)
return raw
