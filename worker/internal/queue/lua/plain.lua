-- plain: stores a batch of plain tasks and returns; of any other batch it stores nothing.
-- A plain task is ready at once, its id was generated, it has no deadline, nobody waits for
-- its end, and nothing is set for its queue. The rest of the script stores such tasks as well, but it makes
-- some forty functions each time before it begins, which takes longer than all of this.
local plain, c = true, 6
while plain and c <= #ARGV do
  local many = tonumber(ARGV[c + 8])
  plain = many <= 500 and ARGV[c + 1] .. ARGV[c + 2] .. ARGV[c + 7] == ''
    and not redis.call('HGET', key('settings'), queue_of(ARGV[c]))
  c = c + 9 + 2 * many
end
if plain then
  -- Each key is checked by what is written to it: asking for the types would take a
  -- third of the time. When one has another type, what was stored is taken back.
  local at, stored, failed, risen, call = base36(now()), {}, false, {}, redis.pcall
  c = 6
  while c <= #ARGV and not failed do
    local line, head, many = ARGV[c], ARGV[c + 3] .. at, tonumber(ARGV[c + 8])
    local queue, ids, words = queue_of(line), {}, {}
    c = c + 9
    for i = 1, many do
      ids[i], words[2 * i - 1], words[2 * i] = ARGV[c], ARGV[c], head .. ARGV[c + 1]
      c = c + 2
    end
    local length = call('LPUSH', key('queue:' .. line), unpack(ids))
    failed = type(length) == 'table'
    if not failed then
      local group, rose = {line, queue, ids}, rises(length, many)
      stored[#stored + 1] = group
      failed = type(call('HSET', key('tasks'), unpack(words))) == 'table'
        or rose and type(filled(queue)) == 'table'
        or type(call('HINCRBY', key('stats'), queue .. '|enqueued', many)) == 'table'
      group.counted = not failed
      if rose then risen[#risen + 1] = queue end
    end
  end
  if not failed then
    redis.call('SET', producer, remembered .. ';', 'PX', ARGV[5])
    for _, queue in ipairs(risen) do rouse(queue) end
    return {'OK'}
  end
  for _, group in ipairs(stored) do
    local line, queue, ids = unpack(group)
    redis.call('LPOP', key('queue:' .. line), #ids)
    if redis.call('EXISTS', key('queue:' .. queue .. '^'), key('queue:' .. queue), key('queue:' .. queue .. '~')) == 0 then
      call('SREM', key('ready'), queue)
    end
    call('HDEL', key('tasks'), unpack(ids))
    if group.counted then redis.call('HINCRBY', key('stats'), queue .. '|enqueued', -#ids) end
  end
end
