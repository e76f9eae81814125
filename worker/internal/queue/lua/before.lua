-- before: what Redis remembers of the batches of a producer, where plain.lua has not asked.
local producer, follows = key('producer:' .. ARGV[1]), false
local before = redis.call('GET', producer)
