-- push: adds items at a list's end and announces them.
-- KEYS 1 list
-- ARGV 1 the most items to keep, 0 for all  2 ms that the list lives, 0 to leave its
--      lifetime as it is  3.. items
-- Returns the list's length | {code of cache_refuses}
local list = KEYS[1]
local most, ttl = tonumber(ARGV[1]), tonumber(ARGV[2])

local refused = cache_refuses('push', list, '', '')
if refused then
  return {refused}
end
local length = 0
for i = 3, #ARGV do
  length = cache_push(list, ARGV[i])
end
if most > 0 and length > most then
  redis.call('LTRIM', list, -most, -1)
  length = most
end
if ttl > 0 then
  redis.call('PEXPIRE', list, ttl)
end
return length
