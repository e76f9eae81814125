-- effects: writes to the cache, for the cache's own scripts and for a task's
-- transaction. A script first calls cache_refuses for every write, in their order;
-- if it refuses none, the script calls the functions that write.

-- Returns the sum of two whole numbers of 64 bits in decimal digits, or nil if the
-- sum does not fit into 64 bits. Lua's numbers are exact to 53 bits only, so long
-- numbers are added in two parts.
local function cache_sum(a, b)
  if #a < 16 and #b < 16 then
    return string.format('%.0f', tonumber(a) + tonumber(b))
  end
  local high, low = 0, 0
  for _, n in ipairs({a, b}) do
    local sign, digits = string.match(n, '^(-?)0*(%d+)$')
    sign = sign == '-' and -1 or 1
    high = high + sign * (tonumber(string.sub(digits, 1, -10)) or 0)
    low = low + sign * tonumber(string.sub(digits, -9))
  end
  local carry = math.floor(low / 1e9)
  high, low = high + carry, low - carry * 1e9
  local sign = ''
  if high < 0 then
    sign = '-'
    high = -high
    if low > 0 then
      high, low = high - 1, 1e9 - low
    end
  end
  local limit = sign == '-' and 854775808 or 854775807
  if high > 9223372036 or (high == 9223372036 and low > limit) then
    return nil
  end
  if high == 0 then
    return sign .. string.format('%.0f', low)
  end
  return sign .. string.format('%.0f%09.0f', high, low)
end

local function cache_whole(value)
  return #value < 21 and string.match(value, '^-?%d+$') and cache_sum(value, '0')
end

-- For each key its state after the writes that cache_refuses has checked so far: the
-- kind of key ('none', 'string', 'list', …), the value if it is known, and whether an
-- expired entry still exists.
local cache_planned = {}

local function cache_plan(entrykey, at)
  local plan = cache_planned[entrykey]
  if plan then
    return plan
  end
  local kind = redis.call('TYPE', entrykey)
  plan = {kind = kind.ok or kind}
  if plan.kind == 'string' then
    plan.raw = redis.call('GET', entrykey)
    if cache_expired(plan.raw, at, entrykey) then
      plan = {kind = 'none', stale = true}
    end
  end
  cache_planned[entrykey] = plan
  return plan
end

-- Returns nil if a write is allowed, else LOCKED (another holds the entry's lock), LOST
-- (the token does not hold the lock), WRONGTYPE, NOTNUMBER or OVERFLOW. op is save,
-- destroy, push or increment; argument is the value or the number to add. The function
-- only reads. Locks do not guard pushes.
local function cache_refuses(op, entrykey, lockkey, token, argument)
  local at = cache_now()
  local barred = op ~= 'push' and cache_barred(lockkey, token, at)
  if barred then
    return barred
  end
  if op == 'save' and not cache_planned[entrykey] and fits(entrykey, 'string') then
    cache_planned[entrykey] = {kind = 'string', value = argument}
    return nil
  end
  local plan = cache_plan(entrykey, at)
  if op == 'destroy' then
    cache_planned[entrykey] = {kind = 'none'}
    return nil
  end
  if plan.kind ~= 'none' and plan.kind ~= (op == 'push' and 'list' or 'string') then
    return 'WRONGTYPE'
  end
  if op == 'push' then
    plan.kind = 'list'
  elseif op == 'save' then
    plan.kind, plan.value = 'string', argument
  elseif op == 'increment' then
    local value = plan.value or (plan.raw and cache_unpack(plan.raw, entrykey, at))
    value = cache_whole(value or (plan.kind == 'none' and '0' or ''))
    if not value then
      return 'NOTNUMBER'
    end
    plan.kind, plan.value = 'string', cache_sum(value, argument)
    if not plan.value then
      return 'OVERFLOW'
    end
  end
  return nil
end

-- Saves an entry that lives for ttl milliseconds, for ever if ttl is 0. After ttl the
-- entry can be read as stale for another stale milliseconds.
local function cache_save(entrykey, value, ttl, version, stale)
  ttl = tonumber(ttl) or 0
  local at = cache_now()
  version = version or cache_version(entrykey)
  if ttl > 0 then
    stale = tonumber(stale) or 0
    redis.call('SET', entrykey, cache_pack(value, at, 0, at + ttl, version, stale), 'PX', int(ttl + stale))
  else
    redis.call('SET', entrykey, cache_pack(value, at, 0, 0, version))
  end
end

-- Destroys an entry or list and returns whether there was one. It also frees the lock
-- of a caller that computes the entry's value (GetOrLoad), so that the caller does not
-- save a value from before.
local function cache_destroy(entrykey)
  local loader = cache_loader_key(entrykey)
  if redis.call('DEL', loader) == 1 then
    redis.call('PUBLISH', loader, '')
  end
  return redis.call('DEL', entrykey) == 1
end

-- Adds an item at a list's end, announces it to waiting callers, and returns the new
-- length.
local function cache_push(entrykey, value)
  if not fits(entrykey, 'list') then
    redis.call('DEL', entrykey) -- an expired entry: cache_refuses has checked that
  end
  local length = redis.call('RPUSH', entrykey, cache_item(value))
  if length == 1 then -- nobody waits while the list has items
    redis.call('PUBLISH', entrykey, '')
  end
  return length
end

-- Adds to a counter, keeps its lifetime and returns the sum. A new counter starts at 0
-- and lives for ttl milliseconds, for ever if ttl is 0.
local function cache_increment(entrykey, delta, version, ttl)
  local at = cache_now()
  local raw = redis.call('GET', entrykey)
  version = version or cache_version(entrykey)
  if raw and not cache_expired(raw, at, entrykey) then
    local value, created, read, expires, _, stale = cache_unpack(raw, entrykey, at)
    local sum = cache_sum(cache_whole(value), delta)
    redis.call('SET', entrykey, cache_pack(sum, created, read, expires, version, stale), 'KEEPTTL')
    return sum
  end
  local sum = cache_sum('0', delta)
  cache_save(entrykey, sum, ttl, version)
  return sum
end
