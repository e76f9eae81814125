-- snapshot: returns the snapshot that is kept, and says whether the caller is to take another: one at a time does.
-- KEYS 1 tasks
-- ARGV 1 how old it may be, in ms  2 for how many ms somebody may take another
-- Returns {'OK', ms on Redis's clock, ms when it was taken or 0, snapshot or '', '1' when the caller takes another or ''} |
--   {'WRONGTYPE', key}
local at = now()
local kept = redis.pcall('HMGET', key('snapshot'), 'at', 'text', 'asked')
if kept.err then return {'WRONGTYPE', key('snapshot')} end
local taken, asked = count_of(kept[1]), count_of(kept[3])
local fresh = kept[2] and taken <= at and at - taken <= tonumber(ARGV[1])
local take = not fresh and (asked > at or at - asked >= tonumber(ARGV[2]))
if take then
  redis.pcall('HSET', key('snapshot'), 'asked', int(at)) -- at maxmemory each takes its own
  redis.pcall('PEXPIRE', key('snapshot'), 3600000)
end
return {'OK', int(at), int(taken), kept[2] or '', take and '1' or ''}
