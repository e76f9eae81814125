-- entry: the native layout. An entry is one string of created(13) read(13)
-- expires(13) version(16) value, with the lengths in bytes. Times are zero-padded
-- milliseconds on Redis's clock; 0 means never. The fixed width lets SETRANGE record a
-- read without rewriting the value.

-- Returns the parts of an entry: value, created, read, expires, version; nil for
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

-- Returns a version that no entry had before.
local function cache_version(entrykey)
  return (cache_tick((string.match(entrykey, '^{.-}:') or '') .. 'clock'))
end

-- Returns what a save returns: the caller knows the version.
local function cache_saved()
  return 1
end

-- Whether an entry's lifetime is over. Such an entry exists while it may be served
-- stale, or until Redis removes it.
local function cache_expired(raw, at)
  local expires = tonumber(string.sub(raw, 27, 39))
  return expires and expires > 0 and expires <= at
end

-- Records a read. At maxmemory it fails silently, so that loads still work.
local function cache_record(entrykey, raw, at)
  if #raw < 55 then
    return
  end
  redis.pcall('SETRANGE', entrykey, 13, string.format('%013.0f', at))
end

-- Sets the time at which an entry expires, and returns the changed entry.
local function cache_prolong(entrykey, raw, expires)
  local digits = string.format('%013.0f', expires)
  redis.call('SETRANGE', entrykey, 26, digits)
  return string.sub(raw, 1, 26) .. digits .. string.sub(raw, 40)
end

-- All that is to know of an entry is in its bytes (compare compat.lua).
local function cache_facts()
end

-- A list's item is stored as it was encoded.
local function cache_item(value)
  return value
end

-- Returns the key of the lock of the caller that computes the entry's value for all
-- callers.
local function cache_loader_key(entrykey)
  return (string.gsub(entrykey, '^({.-}:)cache:', '%1loader:'))
end

-- Returns the key of a lock's record (see hold.lua).
local function cache_record_key(lockkey)
  return lockkey
end

-- Other programs do not see the locks of this layout (compare compat.lua).
local function cache_mark()
end
local cache_marked = cache_mark
