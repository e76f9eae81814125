-- step: notes how far the handler of a running task has come, and applies what it has given to
-- the transaction so far. The steps of a task stay until it is done or forgotten: another
-- run goes on after them.
--
-- steps has how many bytes each task's steps have. steps:<id> has '.name' of each step: its
-- place, ms on Redis's clock when it ended, and its result, or for a sleep 'until' and when
-- that is over, in ms; '=' the last state: ms when it was noted, and the state; '#' the last note.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2 id  3 number of the claim  4 number of the note in this run
--      5 'step', 'sleep' or 'checkpoint'  6 name of the step or ''  7 its place, from 1 on, or ''
--      8 result or state (JSON), or ms to sleep  9 how many effects, then these, see effects.lua
-- Returns {'OK', ms until which it sleeps, or ''} | {'FENCED'} (not in the run's hands) |
--         {'REFUSED', code} (an effect cannot be applied; nothing has changed) | {'WRONGTYPE', key}
local incarnation, id, kind = ARGV[1], ARGV[2], ARGV[5]
local steps, effects = 'steps:' .. id, tonumber(ARGV[9])
if tonumber(redis.call('ZSCORE', key('leases'), incarnation) or 0) <= 0 then return {'FENCED'} end
local mistyped = wrong({'owned:' .. incarnation, 'hash', steps, 'hash', 'tasks', 'hash', 'stats', 'hash', 'settings', 'hash', 'active', 'hash', 'done', 'zset',
  'queues', 'set'}) or wrong_ties()
if mistyped then return {'WRONGTYPE', mistyped} end
local claim = redis.call('HGET', key('owned:' .. incarnation), id)
if not claim or string.match(claim, '^%d+') ~= ARGV[3] then return {'FENCED'} end

local field = kind == 'checkpoint' and '=' or '.' .. ARGV[6]
local before, last = unpack(redis.call('HMGET', key(steps), field, '#'))
local run, number = string.match(last or '', '^(.*)|(%d+)$')
local this = incarnation .. '|' .. ARGV[3]
if run == this and tonumber(number) >= tonumber(ARGV[4]) then -- its answer was lost
  return {'OK', kind == 'sleep' and string.match(before or '', 'until|(%d+)$') or ''}
end
local code = effects_refused(10, effects)
if code then
  apply_effects(10, effects, 0, code)
  return {'REFUSED', code}
end

local at = now()
local value, till = int(at) .. '|' .. ARGV[8], ''
if kind == 'sleep' then
  till = int(at + tonumber(ARGV[8]))
  value = int(at) .. '|until|' .. till
end
if kind ~= 'checkpoint' then value = ARGV[7] .. '|' .. value end
writable(key(steps))
redis.call('HSET', key(steps), field, value, '#', this .. '|' .. ARGV[4])
local more = #value - (before and #before or -#field)
redis.call('HSET', key('steps'), id, int(counted('steps', id) + more))
local record = redis.call('HGET', key('tasks'), id)
local queue = queue_of(line_of(record) or '')
if settings(queue).bytes > 0 and (redis.call('HEXISTS', key('weighing'), queue) == 0 or redis.call('SISMEMBER', key('weighed:' .. queue), id) == 1) then
  count('bytes', queue, more)
end
apply_effects(10, effects, at)
flush()
return with_ended({'OK', till})
