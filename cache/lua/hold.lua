-- hold: the layout of a lock's record, one string of deadline(13) fence(16)
-- waited(1) token. The token is a nonce(16), a slash and the holder. The lock is held
-- until its deadline, in milliseconds on Redis's clock; the key's own TTL only removes
-- the record.

-- Returns a lock's token, its fence, whether somebody waits for it, and its deadline;
-- nil when the lock is free or its record is not ours, false when the key is no string.
local function cache_holder(lockkey, at)
  local marked, left = cache_marked(lockkey)
  if marked == false then
    return nil
  end
  local record = redis.pcall('GET', cache_record_key(lockkey))
  if type(record) == 'table' or type(marked) == 'table' then
    return false
  end
  local ours = record and #record > 30 and string.find(string.sub(record, 1, 30), '^%d+$')
  local deadline = ours and tonumber(string.sub(record, 1, 13))
  if deadline and deadline > at and (not marked or marked == string.match(record, '/([^#]*)', 46)) then
    return string.sub(record, 31), string.sub(record, 14, 29), string.sub(record, 30, 30) == '1', deadline
  elseif marked then -- held by a node of another program
    return marked, '0', false, left < 0 and 0 or at + left
  end
  return nil
end

-- Writes the record of a lock that is granted.
local function cache_hold(lockkey, token, fence, deadline, ttl)
  redis.call('SET', cache_record_key(lockkey), string.format('%013.0f', deadline) .. fence .. '0' .. token, 'PX', ttl)
  cache_mark(lockkey, token, ttl)
end

-- Moves the deadline of a held lock.
local function cache_hold_on(lockkey, token, deadline, ttl)
  redis.call('SETRANGE', cache_record_key(lockkey), 0, string.format('%013.0f', deadline))
  redis.call('PEXPIRE', cache_record_key(lockkey), ttl)
  cache_mark(lockkey, token, ttl)
end

-- Frees a lock, and announces that to its waiters if it has any.
local function cache_let_go(lockkey, waited)
  redis.call('DEL', cache_record_key(lockkey))
  cache_mark(lockkey)
  if waited then
    redis.call('PUBLISH', lockkey, '')
  end
end

-- Returns nil if the lock allows a write, else a code. token is the writer's: the
-- token of the lock, '#' and the lock's fence, or '' for a writer without the lock.
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
