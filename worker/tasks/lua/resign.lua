-- Takes an incarnation out of those that wait for work, and wakes another for
-- every queue that has some: the incarnation may have been woken for it.
-- KEYS 1.. queues
-- ARGV 1 incarnation  2 idle prefix  3 wake prefix  4.. the queues' names
-- Returns 'OK'
local K = {idle = ARGV[2], wake = ARGV[3]}
for i, key in ipairs(KEYS) do
  local queue = ARGV[3 + i]
  if fits(K.idle .. queue, 'set') then
    redis.call('SREM', K.idle .. queue, ARGV[1])
    if fits(key, 'list') and redis.call('EXISTS', key) == 1 then wake(K, queue) end
  end
end
return 'OK'
