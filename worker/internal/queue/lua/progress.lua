-- progress: notes how far a running task is.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2 id  3 progress (JSON)
-- Returns {'OK'} | {'FENCED'} (not in the incarnation's hands) | {'WRONGTYPE', key}
local mistyped = wrong({'owned:' .. ARGV[1], 'hash', 'progress', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
if redis.call('HEXISTS', key('owned:' .. ARGV[1]), ARGV[2]) == 0 then return {'FENCED'} end
redis.call('HSET', key('progress'), ARGV[2], ARGV[3])
return {'OK'}
