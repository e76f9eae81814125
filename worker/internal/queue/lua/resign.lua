-- resign: removes an incarnation from those that idle or tend queues, and wakes another idle incarnation for
-- every queue with tasks: the first may have been woken for these tasks. If the
-- incarnation ends because somebody asked for it, that is noted: then whoever takes over
-- does not take its end for a crash, although some of its handlers may ignore it.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2 '1' when somebody asked it to end, or ''
--      3.. queues, or '@' and the stored list of these
-- Returns 'OK'
local stream = key('stream:' .. ARGV[1])
if ARGV[2] == '1' and fits(stream, 'hash') and redis.call('EXISTS', stream) == 1 then
  writable(stream)
  redis.call('HSET', stream, 'asked', 1)
end
local list = string.match(ARGV[3] or '', '^@(.+)$')
if list then
  if fits(key('idlers:' .. list), 'set') then redis.call('SREM', key('idlers:' .. list), ARGV[1]) end
  for _, queue in ipairs(fits(key('ready'), 'set') and redis.call('SRANDMEMBER', key('ready'), 16) or {}) do
    if pending(queue) then wake(queue) end
  end
  return 'OK'
end
for i = 3, #ARGV do
  untend(ARGV[i], ARGV[1])
  if fits(key('idle:' .. ARGV[i]), 'set') then
    redis.call('SREM', key('idle:' .. ARGV[i]), ARGV[1])
    if pending(ARGV[i]) then wake(ARGV[i]) end
  end
end
return 'OK'
