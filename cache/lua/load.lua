-- load: loads an entry.
-- KEYS 1 entry  2 its lock, where locks also guard loads
-- ARGV 1 ms that the entry is to live for at least, 0 to leave its lifetime as it is
--      2 '1' to record the read  3 '1' for expired entries too  4 with KEYS 2,
--      holder's token or ''
-- Returns {'OK', the entry before the read was recorded, ms on Redis's clock, the results
--         of cache_facts} | nil (no entry) | {'EXPIRED'} | {'LOCKED'} | {'LOST'} (the
--         token does not hold the lock) | {'WRONGTYPE'}
local entry, lock = KEYS[1], KEYS[2]
local extend, record, stale, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local at = cache_now()
if lock then
  local barred = cache_barred(lock, token, at)
  if barred then
    return {barred}
  end
end
local raw = redis.call('GET', entry)
if not raw then
  return nil
end
if cache_expired(raw, at, entry) then
  return stale == '1' and {'OK', raw, int(at), cache_facts(raw, entry, at)} or {'EXPIRED'}
end
local before = raw
if tonumber(extend) > 0 then
  local _, _, _, expires = cache_unpack(raw, entry, at)
  if expires and expires > 0 and at + extend > expires then
    redis.call('PEXPIRE', entry, int(tonumber(redis.call('PTTL', entry)) + at + extend - expires))
    before = cache_prolong(entry, raw, at + extend)
    raw = before
  end
end
if record == '1' then
  cache_record(entry, raw, at)
end
return {'OK', before, int(at), cache_facts(before, entry, at)}
