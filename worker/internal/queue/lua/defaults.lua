-- defaults: sets the defaults of a queue, and has all nodes read them.
-- KEYS 1 tasks
-- ARGV 1 queue  2 defaults (JSON), '' for none  3 '=' and the defaults that have to be there, else nothing
--      changes; '' for any
-- Returns {'OK', '1' or '' (others are there), the defaults that are there now} | {'WRONGTYPE', key}
local mistyped = wrong({'defaults', 'hash', 'queues', 'set'})
if mistyped then return {'WRONGTYPE', mistyped} end
local queue, text = ARGV[1], ARGV[2]
local there = redis.call('HGET', key('defaults'), queue) or ''
if ARGV[3] ~= '' and ARGV[3] ~= '=' .. there then return {'OK', '', there} end
writable(key('defaults'))
if text == '' then
  redis.call('HDEL', key('defaults'), queue)
else
  redis.call('HSET', key('defaults'), queue, text)
  known(queue)
end
redis.call('PUBLISH', channel('set'), '')
return {'OK', '1', text}
