-- compat: the layout of actionhero and the original Stellar. An entry is the JSON
-- {"value":…,"expireTimestamp":ms or null,"createdAt":ms,"readAt":ms or null},
-- an item of a list {"data":…}, a lock the id of the node that holds it. For a lock
-- of this project a second key has the record (see hold.lua) with the token of the
-- holder.
--
-- Beside actionhero (cache_pttl), whose nodes set and prolong lifetimes by PEXPIRE alone,
-- the lifetime that Redis has decides, whatever expireTimestamp says, and "staleFor":ms
-- after the value notes for how long an entry is kept to be read as stale. Beside Stellar
-- Redis's lifetime decides where an entry has no expireTimestamp.

local cache_tail = ',"expireTimestamp":([%d%.nul]+),"createdAt":(%d+),"readAt":([%dnul]+)}$'

-- Returns when an entry expires, 0 for never; noted is its expireTimestamp, 0 for none.
local function cache_expiry(entrykey, at, noted, stale)
  if noted > 0 and not cache_pttl then
    return noted
  end
  local left = tonumber(redis.call('PTTL', entrykey)) -- digits if it is long (embedded.narrow)
  return left < 0 and 0 or at + left - stale
end

-- Returns the parts of an entry: value, created, read, expires, version, ms that it is
-- kept for after that. The value is nil if the members come in another order than above.
local function cache_unpack(raw, entrykey, at)
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
  local stale = 0
  if cache_pttl and value and string.find(value, ',"staleFor":%d+$') then
    value, stale = string.match(value, '^(.*),"staleFor":(%d+)$')
  end
  stale = tonumber(stale)
  -- An entry in another order is rewritten by nobody for a read: all of it is its version.
  local version = (tonumber(created) and int(tonumber(created)) or '') .. redis.sha1hex(value or raw)
  expires = cache_expiry(entrykey, at, tonumber(expires) or 0, stale)
  return value, tonumber(created) or 0, tonumber(read) or 0, expires, version, stale
end

local function cache_pack(value, created, read, expires, _, stale)
  if cache_pttl and tonumber(stale) and tonumber(stale) > 0 then
    value = value .. ',"staleFor":' .. int(tonumber(stale))
  end
  return '{"value":' .. value .. ',"expireTimestamp":' .. (expires > 0 and int(expires) or 'null') ..
    ',"createdAt":' .. int(created) .. ',"readAt":' .. (read > 0 and int(read) or 'null') .. '}'
end

-- This layout stores no version: cache_unpack makes one from createdAt and the value.
local function cache_version()
  return ''
end

-- Returns what a save of the value returns: the version that the entry has now.
local function cache_saved(value)
  return {'OK', int(cache_now()) .. redis.sha1hex(value)}
end

local function cache_expired(raw, at, entrykey)
  local _, _, _, expires = cache_unpack(raw, entrykey, at)
  return expires and expires > 0 and expires <= at
end

local function cache_record(entrykey, raw, at)
  if string.find(raw, '^{"value":.*' .. cache_tail) then
    redis.pcall('SET', entrykey, (string.gsub(raw, '"readAt":[%dnul]+}$', '"readAt":' .. int(at) .. '}')), 'KEEPTTL')
  end
end

local function cache_prolong(entrykey, raw, expires)
  local value, created, read, _, _, stale = cache_unpack(raw, entrykey, cache_now())
  if value and string.find(raw, cache_tail) then
    raw = cache_pack(value, created, read, expires, nil, stale)
    redis.call('SET', entrykey, raw, 'KEEPTTL')
  end
  return raw
end

-- Returns what the bytes of an entry alone do not tell: when it expires, and its version.
local function cache_facts(raw, entrykey, at)
  local _, _, _, expires, version = cache_unpack(raw, entrykey, at)
  return int(expires or 0), version or ''
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
  return node, node and tonumber(redis.call('PTTL', lockkey))
end
