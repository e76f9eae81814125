-- Loads an entry.
-- KEYS: the entry, and, where locks also guard loads, its lock
-- ARGV: ms that it is to live for at least, if it does not live for ever, '1' to
--   record the read, '1' for expired entries too, and with a lock, holder's token
-- Returns {its bytes as they were before the read, the instant in ms}. nil if
--   there is none, 0 if it is expired, -1 if it is locked, -2 if the token does
--   not hold the lock.
local entry, lock = KEYS[1], KEYS[2]
local extend, record, stale, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local at = cache_now()
if lock then
  local barred = cache_barred(lock, token, at)
  if barred then
    return barred == 'LOST' and -2 or -1
  end
end
local raw = redis.call('GET', entry)
if not raw then
  return nil
end
if cache_expired(raw, at) then
  return stale == '1' and {raw, at} or 0
end
local before = raw
if tonumber(extend) > 0 then
  local _, _, _, expires = cache_unpack(raw)
  if expires and expires > 0 and at + extend > expires then
    redis.call('PEXPIRE', entry, int(redis.call('PTTL', entry) + at + extend - expires))
    before = cache_prolong(entry, raw, at + extend)
    raw = before
  end
end
if record == '1' then
  cache_record(entry, raw, at)
end
return {before, at}
