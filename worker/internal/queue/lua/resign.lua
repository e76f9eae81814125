-- resign: takes an incarnation out of those that wait for work, and wakes another for
-- every queue that has some: the incarnation may have been woken for it.
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
