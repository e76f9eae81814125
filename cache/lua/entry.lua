-- The layout of an entry: one string of created(13) read(13) expires(13)
-- version(16) value. Times are zero-padded milliseconds on Redis's clock; 0 is
-- "never". So a read is recorded by SETRANGE, without rewriting the value.

-- What an entry is made of: value, created, read, expires, version. nil for
-- bytes that are not an entry.
local function cache_unpack(raw)
  local created, read, expires = string.match(raw, '^(%d%d%d%d%d%d%d%d%d%d%d%d%d)(%d%d%d%d%d%d%d%d%d%d%d%d%d)(%d%d%d%d%d%d%d%d%d%d%d%d%d)')
  if not created or #raw < 55 then
    return nil
  end
  return string.sub(raw, 56), tonumber(created), tonumber(read), tonumber(expires), string.sub(raw, 40, 55)
end

local function cache_pack(value, created, read, expires, version)
  return string.format('%013.0f%013.0f%013.0f', created, read, expires) .. version .. value
end

-- Whether an entry is past its time. It may still be there: stored for longer,
-- to be served stale, or not yet removed.
local function cache_expired(raw, at)
  local expires = tonumber(string.sub(raw, 27, 39))
  return expires and expires > 0 and expires <= at
end

-- Records a read. At maxmemory the read is answered and not recorded.
local function cache_record(entrykey, _, at)
  redis.pcall('SETRANGE', entrykey, 13, string.format('%013.0f', at))
end

-- A list's item is stored as it was encoded.
local function cache_item(value)
  return value
end
