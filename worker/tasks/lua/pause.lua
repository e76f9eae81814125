-- Pauses or resumes a periodic task.
-- KEYS 1 periodic
-- ARGV 1 name  2 '1' to pause, '' to resume
-- Returns 1, or 0 when there is no such periodic task
local last = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%d+)|')
if not last then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], last .. '|' .. ARGV[2])
return 1
