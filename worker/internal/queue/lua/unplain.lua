-- unplain: wakes somebody for what plain.lua has stored, and returns; or takes it back when a
-- key is of another type: the rest of the script says which.
if not failed then
  for _, queue in ipairs(risen) do failed = failed or type(filled(queue)) == 'table' end
  if not failed then
    for _, queue in ipairs(risen) do rouse(queue) end
    return {'OK'}
  end
end
c = 6
while c < stored do
  local line, many = argv[c], argv[c + 8] + 0
  redis.call('LPOP', key('queue:' .. line), many)
  count('stats', queue_of(line) .. '|enqueued', -many)
  for i = 1, many do redis.call('HDEL', key('tasks'), argv[c + 7 + 2 * i]) end
  c = c + 9 + 2 * many
end
if plain then -- it has written what it would remember
  if before then redis.call('SET', producer, before, 'PX', argv[5]) else redis.call('DEL', producer) end
end
