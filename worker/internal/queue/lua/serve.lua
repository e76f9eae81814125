-- serve: stores a list of queues. A node that serves many queues does not name them in each
-- claim, but this list, and idles in a set of its list instead of one for each queue. Claims
-- keep the list from being forgotten.
-- KEYS 1 tasks
-- ARGV 1 list, a digest of the rest  2.. of each queue its rank in the strict order, or its
--      weight, and its name
-- Returns {'OK'} | {'WRONGTYPE', key}
local list, lasting = ARGV[1], 86400000
local mistyped = wrong({'serves:' .. list, 'zset', 'lists', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
writable(key('lists'))

-- Other lists of a queue that are not forgotten yet.
local kept = {[list] = false}
local function others(lists)
  local some = ''
  for other in string.gmatch(lists, '%S+') do
    if kept[other] == nil then kept[other] = redis.call('EXISTS', key('serves:' .. other)) == 1 end
    if kept[other] then some = some .. other .. ' ' end
  end
  return some
end

for from = 2, #ARGV, 1000 do
  local to, names, words = math.min(from + 999, #ARGV), {}, {}
  redis.call('ZADD', key('serves:' .. list), unpack(ARGV, from, to))
  for i = from + 1, to, 2 do names[#names + 1] = ARGV[i] end
  for i, lists in ipairs(redis.call('HMGET', key('lists'), unpack(names))) do
    words[2 * i - 1], words[2 * i] = names[i], others(lists or '') .. list .. ' '
  end
  redis.call('HSET', key('lists'), unpack(words))
end
redis.call('PEXPIRE', key('serves:' .. list), lasting)
redis.call('PEXPIRE', key('lists'), lasting)
return {'OK'}
