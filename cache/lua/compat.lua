-- compat: the layout of actionhero and the original Stellar. An entry is the JSON
-- {"value":…,"expireTimestamp":ms or null,"createdAt":ms,"readAt":ms or null},
-- an item of a list {"data":…}, a lock the id of the node that holds it. For a lock
-- of this project a second key has the record (see hold.lua) with the token of the
-- holder.

local cache_tail = ',"expireTimestamp":([%d%.nul]+),"createdAt":(%d+),"readAt":([%dnul]+)}$'

-- Returns the parts of an entry: value, created, read, expires, version. The value
-- is nil if the members come in another order than above.
local function cache_unpack(raw)
  local value = string.match(raw, '^{"value":(.*)' .. cache_tail)
  local expires, created, read = string.match(raw, cache_tail)
  if not created then
    value, created = string.match(raw, '^{"value":(.*),"createdAt":(%d+)}$')
  end
  if not created then
    local ok, entry = pcall(cjson.decode, raw)
    if not ok or type(entry) ~= 'table' then
      return nil
    end
    expires, created, read = entry.expireTimestamp, entry.createdAt, entry.readAt
  end
  local version = (tonumber(created) and int(tonumber(created)) or '') .. (value and redis.sha1hex(value) or '')
  return value, tonumber(created) or 0, tonumber(read) or 0, tonumber(expires) or 0, version
end

local function cache_pack(value, created, read, expires)
  return '{"value":' .. value .. ',"expireTimestamp":' .. (expires > 0 and int(expires) or 'null') ..
    ',"createdAt":' .. int(created) .. ',"readAt":' .. (read > 0 and int(read) or 'null') .. '}'
end

-- This layout stores no version: cache_unpack makes one from createdAt and the value.
local function cache_version()
  return ''
end

local function cache_expired(raw, at)
  local _, _, _, expires = cache_unpack(raw)
  return expires and expires > 0 and expires <= at
end

local function cache_record(entrykey, raw, at)
  if string.find(raw, cache_tail) then
    redis.pcall('SET', entrykey, (string.gsub(raw, '"readAt":[%dnul]+}$', '"readAt":' .. int(at) .. '}')), 'KEEPTTL')
  end
end

local function cache_prolong(entrykey, raw, expires)
  local value, created, read = cache_unpack(raw)
  if value and string.find(raw, cache_tail) then
    raw = cache_pack(value, created, read, expires)
    redis.call('SET', entrykey, raw, 'KEEPTTL')
  end
  return raw
end

local function cache_item(value)
  return '{"data":' .. value .. '}'
end

local function cache_loader_key(entrykey)
  return 'loader:' .. entrykey
end

local function cache_record_key(lockkey)
  return 'holder:' .. lockkey
end

-- Writes or deletes the lock as the other programs see it: held for ttl milliseconds
-- by the node of the token, or free if token is nil.
local function cache_mark(lockkey, token, ttl)
  if token then
    redis.call('SET', lockkey, string.match(token, '^.-/([^#]*)'), 'PX', ttl)
  else
    redis.call('DEL', lockkey)
  end
end

-- Returns the id of the node that holds a lock and the milliseconds that are left,
-- or false when the lock is free.
local function cache_marked(lockkey)
  local node = redis.pcall('GET', lockkey)
  return node, node and redis.call('PTTL', lockkey)
end
