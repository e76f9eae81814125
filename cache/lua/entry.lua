-- entry: the layout of an entry, one string of created(13) read(13) expires(13)
-- version(16) value. Times are zero-padded milliseconds on Redis's clock; 0 is
-- "never". So a read is recorded by SETRANGE, without rewriting the value.

-- What an entry is made of: value, created, read, expires, version. nil for
-- bytes that are not an entry.
local function cache_unpack(raw)
  local head = string.match(string.sub(raw, 1, 39), '^%d+$')
  if not head or #raw < 55 then
    return nil
  end
  return string.sub(raw, 56), tonumber(string.sub(head, 1, 13)), tonumber(string.sub(head, 14, 26)),
    tonumber(string.sub(head, 27)), string.sub(raw, 40, 55)
end

local function cache_pack(value, created, read, expires, version)
  return string.format('%013.0f%013.0f%013.0f', created, read, expires) .. version .. value
end

-- A version that no entry had before.
local function cache_version(entrykey)
  return (cache_tick((string.match(entrykey, '^{.-}:') or '') .. 'clock'))
end

-- Whether an entry is past its time. It may still be there: stored for longer,
-- to be served stale, or not yet removed.
local function cache_expired(raw, at)
  local expires = tonumber(string.sub(raw, 27, 39))
  return expires and expires > 0 and expires <= at
end

-- Records a read. At maxmemory the read is answered and not recorded.
local function cache_record(entrykey, raw, at)
  if #raw < 55 then
    return
  end
  redis.pcall('SETRANGE', entrykey, 13, string.format('%013.0f', at))
end

-- Moves the end of an entry's life; the entry as it is then.
local function cache_prolong(entrykey, raw, expires)
  local digits = string.format('%013.0f', expires)
  redis.call('SETRANGE', entrykey, 26, digits)
  return string.sub(raw, 1, 26) .. digits .. string.sub(raw, 40)
end

-- A list's item is stored as it was encoded.
local function cache_item(value)
  return value
end

-- Who loads an entry on behalf of others holds the lock with this key.
local function cache_loader_key(entrykey)
  return (string.gsub(entrykey, '^({.-}:)cache:', '%1loader:'))
end

-- Where a lock's record is.
local function cache_record_key(lockkey)
  return lockkey
end

-- The original's mark of a lock: there is none in this layout.
local function cache_mark()
end
local cache_marked = cache_mark
