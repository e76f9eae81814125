-- wait: returns whether and how a task has ended. On request it has the end of a task that
-- has not ended announced.
-- KEYS 1 tasks
-- ARGV 1 id  2 '1' to have its end announced
-- Returns {'OK', 'done', result or ''} | {'OK', 'dead', reason} | {'OK', 'cancelled', reason}
--         | {'OK', 'gone', ''} (not stored) | {'OK', 'stored', ''} | {'WRONGTYPE', key}
local id = ARGV[1]
local mistyped = wrong({'tasks', 'hash', 'done', 'zset', 'dead', 'zset', 'cancelled', 'zset', 'results', 'hash', 'reasons', 'hash', 'waiting', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local record = redis.call('HGET', key('tasks'), id)
if retained(record) or redis.call('ZSCORE', key('done'), id) then return {'OK', 'done', redis.call('HGET', key('results'), id) or ''} end
for _, place in ipairs({'dead', 'cancelled'}) do
  if redis.call('ZSCORE', key(place), id) then return {'OK', place, redis.call('HGET', key('reasons'), id) or ''} end
end
if not record then return {'OK', 'gone', ''} end
if ARGV[2] == '1' then
  writable(key('waiting'))
  redis.call('HSET', key('waiting'), id, 1)
end
return {'OK', 'stored', ''}
