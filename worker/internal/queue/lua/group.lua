-- group: pauses a group, resumes one, which ends its rest too, or offers some groups their turn after a change of their queue's
-- limits.
-- KEYS 1 tasks
-- ARGV 1 queue  2 'pause', 'resume' or 'offer', = and the rate of its groups before  3.. groups
-- Returns {'OK', '1' when the group has tasks in its lines or in hand, of the last one} | {'WRONGTYPE', key}
local queue, verb, t = ARGV[1], ARGV[2], turns()
local mistyped = wrong({'settings', 'hash', 'active', 'hash', 'ready', 'set', 'groups:' .. queue, 'zset'}) or wrong_some(party_kinds())
if mistyped then return {'WRONGTYPE', mistyped} end
writable(key('halted'))
local uses, old = '', string.match(verb, '^offer=(.*)$')
for i = 3, #ARGV do
  local group, party = ARGV[i], queue .. '/' .. ARGV[i]
  if verb == 'resume' then redis.call('ZREM', key('resting'), party) end
  if old and exists('rates') then t.rescale(party, rate_of(old), settings(queue).group_rate) end
  if verb == 'pause' then known(queue) end
  if not old then redis.call(verb == 'pause' and 'SADD' or 'SREM', key('halted'), party) end
  local waits = redis.call('ZSCORE', key('groups:' .. queue), group)
  if waits and verb == 'pause' then t.place(queue, group, true) else t.offer(party) end
  uses = (waits or redis.call('HEXISTS', key('active'), party) == 1) and '1' or ''
end
flush()
return {'OK', uses}
