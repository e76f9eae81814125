-- bulk: stores a batch of plain tasks of one kind (see plain.lua) whose records are ready: the
-- producer has put the time into them, Redis's clock as it knows it. To make 500 records takes a
-- script longer than all else that it does but storing them. If that time is not right, or if there
-- is anything else to heed, it does nothing, and enqueue.lua has to be sent instead.
-- KEYS 1 tasks
-- ARGV 1 producer  2 batch number  3 the smaller numbers for which the producer waits too  4 the one
--      of these that must have been stored before, or ''  5 ms to remember the producer
--      6 line  7 ms in the records, then id and record of each task, at most 500
-- Returns {'OK'} | {'OK', position, code, …} of this batch, when it came before | {'EARLY'} (the
--         other batch has not been stored) | {'OTHER'} (nothing was done)
local line, queue, at, many = ARGV[6], queue_of(ARGV[6]), now(), (#ARGV - 7) / 2
if math.abs(at - ARGV[7]) > 1000 or redis.call('HGET', key('settings'), queue)
  or wrong({'tasks', 'hash', 'queues', 'set', 'stats', 'hash', 'queue:' .. line, 'list'}) then
  return {'OTHER'}
end
redis.call('SET', producer, remembered .. ';', 'PX', ARGV[5])
local ids = {}
for i = 1, many do ids[i] = ARGV[6 + 2 * i] end
local length = redis.call('LPUSH', key('queue:' .. line), unpack(ids))
redis.call('HSET', key('tasks'), unpack(ARGV, 8, #ARGV))
count('stats', queue .. '|enqueued', many)
if length <= many then filled(queue) end
if rises(queue, length, many) then rouse(queue) end
return {'OK'}
