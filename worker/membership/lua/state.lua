-- state: writes the state of a node into its member record.
-- KEYS 1 members
-- ARGV 1 id  2 incarnation  3 state
-- Returns 1, or 0 when the record is another incarnation's
local record = redis.call('HGET', KEYS[1], ARGV[1])
if not record then return 0 end
local incarnation, joined, _, rest = string.match(record, '^([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
if incarnation ~= ARGV[2] then return 0 end
writable(KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], incarnation .. '\n' .. joined .. '\n' .. ARGV[3] .. '\n' .. rest)
return 1
