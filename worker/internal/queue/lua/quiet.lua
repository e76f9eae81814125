-- quiet: notes whether an incarnation is quiet, that is, claims no tasks. The note serves to
-- explain why a task waits.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2 '1' when it is quiet, or ''  3.. the queues that it
--      serves: one that starts quiet has not claimed, and so not named them
-- Returns {'OK'} | {'FENCED'} (the incarnation is over) | {'WRONGTYPE', key}
local stream = 'stream:' .. ARGV[1]
local mistyped = wrong({stream, 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
if tonumber(redis.call('ZSCORE', key('leases'), ARGV[1]) or 0) <= 0 then return {'FENCED'} end
writable(key(stream))
if ARGV[2] == '1' then
  redis.call('HSET', key(stream), 'queues', table.concat(ARGV, ' ', 3), 'quiet', 1)
else
  redis.call('HDEL', key(stream), 'quiet')
end
return {'OK'}
