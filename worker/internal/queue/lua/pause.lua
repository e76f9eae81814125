-- pause: pauses or resumes a periodic task, or removes one that nobody registers any more.
-- KEYS 1 tasks
-- ARGV 1 name  2 '1' to pause, '' to resume, 'remove'
-- Returns 1, or 0 when there is no such periodic task
local new, last, paused = string.match(redis.call('HGET', key('periodic'), ARGV[1]) or '', '^(0?)(%d+)|(1?)$')
if not last then return 0 end
if ARGV[2] == 'remove' then
  redis.call('HDEL', key('periodic:definitions'), ARGV[1])
  redis.call('HDEL', key('periodic'), ARGV[1])
  redis.call('HDEL', key('periodic:set'), ARGV[1])
  redis.call('HDEL', key('periodic:history'), ARGV[1])
else
  -- All ticks of a pause are left out, also those that no process noted.
  if paused == '1' and ARGV[2] == '' then last = int(now()) end
  redis.call('HSET', key('periodic'), ARGV[1], new .. last .. '|' .. ARGV[2])
end
return 1
