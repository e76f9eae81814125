-- hold: the layout of a lock's record, one string of deadline(13) fence(16)
-- waited(1) token, the token a nonce(16), a slash and the holder. The deadline is on Redis's clock
-- and decides; the key's own TTL only cleans up.

-- Reads a lock: its holder's token, its fence, whether somebody waits for it,
-- its deadline; nil when nobody holds it, false when the key is not a lock.
local function cache_holder(lockkey, at)
  local marked, left = cache_marked(lockkey)
  if marked == false then
    return nil
  end
  local record = redis.pcall('GET', cache_record_key(lockkey))
  if type(record) == 'table' or type(marked) == 'table' then
    return false
  end
  local deadline = record and tonumber(string.sub(record, 1, 13))
  if deadline and deadline > at and (not marked or marked == string.match(record, '/([^#]*)', 46)) then
    return string.sub(record, 31), string.sub(record, 14, 29), string.sub(record, 30, 30) == '1', deadline
  elseif marked then -- by a node of the original
    return marked, '0', false, left < 0 and 0 or at + left
  end
  return nil
end

local function cache_hold(lockkey, token, fence, deadline, ttl)
  redis.call('SET', cache_record_key(lockkey), string.format('%013.0f', deadline) .. fence .. '0' .. token, 'PX', ttl)
  cache_mark(lockkey, token, ttl)
end

local function cache_hold_on(lockkey, token, deadline, ttl)
  redis.call('SETRANGE', cache_record_key(lockkey), 0, string.format('%013.0f', deadline))
  redis.call('PEXPIRE', cache_record_key(lockkey), ttl)
  cache_mark(lockkey, token, ttl)
end

-- Frees a lock and wakes who waits for it.
local function cache_let_go(lockkey, waited)
  redis.call('DEL', cache_record_key(lockkey))
  cache_mark(lockkey)
  if waited then
    redis.call('PUBLISH', lockkey, '')
  end
end

-- nil when a writer may write under the lock; else why not. Its token is the
-- holder's, or '#' and the holder's fence, or '' for none.
local function cache_barred(lockkey, token, at)
  local holder, fence = cache_holder(lockkey, at)
  if holder == false then
    return 'WRONGTYPE'
  elseif token == '' then
    return holder and 'LOCKED' or nil
  elseif holder and (holder == token or '#' .. fence == token) then
    return nil
  end
  return 'LOST'
end
