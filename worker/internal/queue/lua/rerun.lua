-- rerun: has a task forget a step and the later ones, with the state of a checkpoint after
-- it, and run again: a dead or cancelled one goes back to its line as if it were new, a delayed one
-- is due now, and one that waits for its turn or for other tasks stays where it is.
-- KEYS 1 tasks
-- ARGV 1 id  2 name of the step, or '' to forget all
-- Returns {'OK', 'rerun', 'unknown' (it has no such step), 'active', 'already done', 'gone' (not stored), 'taken'
--         (another task has its unique key) or 'broken' (a key of its queue is something else's)}
--       | {'WRONGTYPE', key}
local id, name = ARGV[1], ARGV[2]
local mistyped = mending_refuses() or wrong({'steps:' .. id, 'hash', 'stepped:' .. id, 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local record, at = redis.call('HGET', key('tasks'), id), now()
local line = line_of(record)
if retained(record) or redis.call('ZSCORE', key('done'), id) then return {'OK', 'already done'} end
if not line then return {'OK', 'gone'} end
local queue = queue_of(line)
if record_refuses(record) or not fits(key('weighed:' .. queue), 'set') then return {'OK', 'broken'} end
for _, incarnation in ipairs(lives()) do
  if redis.call('HEXISTS', key('owned:' .. incarnation), id) == 1 then return {'OK', 'active'} end
end
local from = name == '' and 0 or nil
for _, step in ipairs(steps_of(id)) do
  if step.field == '.' .. name and step.field ~= '.' then from = step.place end
end
if not from then return {'OK', 'unknown'} end

writable(key('tasks'))
local word = revive(id, at)
if word == 'taken' then return {'OK', word} end
forget_steps(queue, id, from)
if redis.call('ZREM', key('delayed:' .. queue), id) == 1 then
  come(line, id)
  touched[queue] = true
end
note(id, at, 'rerun', '{"step":' .. cjson.encode(name) .. '}')
flush()
return {'OK', 'rerun'}
