-- resign: removes an incarnation from the idle ones, and wakes another idle incarnation for
-- every queue with tasks: the first may have been woken for these tasks.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2.. queues
-- Returns 'OK'
for i = 2, #ARGV do
  if fits(key('idle:' .. ARGV[i]), 'set') then
    redis.call('SREM', key('idle:' .. ARGV[i]), ARGV[1])
    if pending(ARGV[i]) then wake(ARGV[i]) end
  end
end
return 'OK'
