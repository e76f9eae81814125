-- A lock is one string of deadline(13) fence(16) waited(1) token. The deadline
-- is on Redis's clock and decides; the key's own TTL only cleans up.

-- Reads a lock: its holder's token, its fence, whether somebody waits for it,
-- its deadline; nil when nobody holds it, false when the key is not a lock.
local function cache_holder(lockkey, at)
  local lock = redis.pcall('GET', lockkey)
  if not lock then
    return nil
  elseif type(lock) == 'table' then
    return false
  end
  local deadline = tonumber(string.sub(lock, 1, 13))
  if not deadline or deadline <= at then
    return nil
  end
  return string.sub(lock, 31), string.sub(lock, 14, 29), string.sub(lock, 30, 30) == '1', deadline
end

-- nil when a writer with that token, or with '' for none, may write under the
-- lock; else why not.
local function cache_barred(lockkey, token, at)
  local holder = cache_holder(lockkey, at)
  if holder == token or (holder == nil and token == '') then
    return nil
  elseif holder == false then
    return 'WRONGTYPE'
  end
  return token == '' and 'LOCKED' or 'LOST'
end
