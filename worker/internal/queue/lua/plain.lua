-- plain: stores a batch of plain tasks; of any other batch it stores nothing. A plain task is
-- ready at once, its id was generated, it has no deadline, nobody waits for its end, and
-- nothing is set for its queue. The rest of the script stores such tasks as well, but takes
-- longer to make its functions, each time, than all of this takes.
local argv, call, tag = ARGV, redis.pcall, string.sub(KEYS[1], 1, -6)
local producer = tag .. 'producer:' .. argv[1]

-- Most often the last batch was the one before, and its reply came: see numbered.lua.
local last_number = argv[2] - 1 .. ''
local plain, c, last, before = argv[3] == '', 6, #argv, nil
while plain and c < last do
  local many = argv[c + 8] + 0
  plain = argv[c + 1] == '' and argv[c + 2] == '' and argv[c + 7] == '' and many <= 500
    and not redis.call('HGET', tag .. 'settings', queue_of(argv[c]))
  c = c + 9 + 2 * many
end
if plain then -- unplain.lua takes it back when it does not follow
  before = redis.call('SET', producer, argv[2] .. '|' .. argv[2] .. ':;', 'PX', argv[5], 'GET')
else
  before = redis.call('GET', producer)
end
local follows = argv[3] == '' and (not before or before == last_number .. '|' .. last_number .. ':;')
local stored, failed, risen = 6, not plain or not follows -- where the first group is that is not stored; queues whose lines were empty
if not failed then
  -- Each key is checked by what is written to it: asking for the types would take a
  -- third of the time. When one has another type, unplain.lua takes back what was stored.
  local ms = now()
  local at = hex(ms)
  while stored < last and not failed do
    c = stored
    local line, head, many = argv[c], argv[c + 3] .. at, argv[c + 8] + 0
    local queue, length, set = queue_of(line)
    if many == 1 then
      length = call('LPUSH', tag .. 'queue:' .. line, argv[c + 9])
      set = type(length) == 'number' and call('HSET', KEYS[1], argv[c + 9], head .. argv[c + 10])
    else
      local ids, words = {}, {}
      for i = 1, many do
        local id = argv[c + 7 + 2 * i]
        ids[i], words[2 * i - 1], words[2 * i] = id, id, head .. argv[c + 8 + 2 * i]
      end
      length = call('LPUSH', tag .. 'queue:' .. line, unpack(ids))
      set = type(length) == 'number' and call('HSET', KEYS[1], unpack(words))
    end
    failed = type(set) ~= 'number' or type(call('HINCRBY', tag .. 'stats', queue .. '|enqueued', many)) ~= 'number'
    if failed then
      if set then call('LPOP', tag .. 'queue:' .. line, many) end
      if type(set) == 'number' then
        for i = 1, many do call('HDEL', KEYS[1], argv[c + 7 + 2 * i]) end
      end
    else
      local rises = length <= many or length % 100 < many -- see rises() and tender()
      if rises and length < 100 then
        local text = call('HGET', tag .. 'tended', queue)
        local till = type(text) == 'string' and string.match(text, '^(%d+)|')
        rises = not till or till + 0 < ms or till - 100 > ms
      end
      if rises then
        risen = risen or {}
        risen[#risen + 1] = queue
      end
      stored = c + 9 + 2 * many
    end
  end
  if not failed and not risen then return {'OK'} end
end
