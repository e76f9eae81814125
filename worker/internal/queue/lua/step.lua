-- step: notes how far the handler of a running task has come, and applies what it has given to
-- the transaction so far. The steps of a task stay until it is done or forgotten: another
-- run goes on after them.
--
-- steps has how many bytes each task's steps have. steps:<id> has '.name' of each step: its
-- place, ms on Redis's clock when it ended, and how many bytes its result has, or for a sleep
-- 'until' and when that is over, in ms; '=' the same of the last state, its place being how many
-- steps came before; '#' the last note. The results and the state themselves are apart, in
-- stepped:<id>, in fields of the same names.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2 id  3 number of the claim  4 number of the note in this run
--      5 'step', 'sleep' or 'checkpoint'  6 name of the step or ''  7 its place, from 1 on, or
--      how many steps came before the state  8 result or state (JSON), or ms to sleep
--      9 how many effects, then these, see effects.lua
-- Returns {'OK', ms until which it sleeps, or ''} | {'FENCED'} (not in the run's hands) |
--         {'REFUSED', code} (an effect cannot be applied; nothing has changed) | {'WRONGTYPE', key}
local incarnation, id, kind, value = ARGV[1], ARGV[2], ARGV[5], ARGV[8]
local steps, values, effects = 'steps:' .. id, 'stepped:' .. id, tonumber(ARGV[9])
if tonumber(redis.call('ZSCORE', key('leases'), incarnation) or 0) <= 0 then return {'FENCED'} end
local mistyped = wrong({'owned:' .. incarnation, 'hash', steps, 'hash', values, 'hash', 'tasks', 'hash', 'stats', 'hash', 'settings', 'hash', 'active', 'hash',
  'done', 'zset', 'queues', 'set'}) or wrong_ties()
if mistyped then return {'WRONGTYPE', mistyped} end
local claim = redis.call('HGET', key('owned:' .. incarnation), id)
if not claim or string.match(claim, '^%d+') ~= ARGV[3] then return {'FENCED'} end
local queue = queue_of(line_of(redis.call('HGET', key('tasks'), id)) or '')
if not fits(key('weighed:' .. queue), 'set') then return {'WRONGTYPE', key('weighed:' .. queue)} end

local field = kind == 'checkpoint' and '=' or '.' .. ARGV[6]
local before, last = unpack(redis.call('HMGET', key(steps), field, '#'))
local run, number = string.match(last or '', '^(.*)|(%d+)$')
local this = incarnation .. '|' .. ARGV[3]
if run == this and tonumber(number) >= tonumber(ARGV[4]) then -- its answer was lost
  return {'OK', kind == 'sleep' and sleep_of(before) or ''}
end
local code = effects_refused(10, effects)
if code then
  apply_effects(10, effects, 0, code)
  return {'REFUSED', code}
end

local at, till, meta = now(), '', nil
local more = -(before and bytes_of(field, before) or 0)
if kind == 'sleep' then
  till = int(at + tonumber(value))
  meta = 'until|' .. till
else
  meta = #value
end
meta = ARGV[7] .. '|' .. int(at) .. '|' .. meta
writable(key(steps))
redis.call('HSET', key(steps), field, meta, '#', this .. '|' .. ARGV[4])
if kind ~= 'sleep' then redis.call('HSET', key(values), field, value) end
outweigh(queue, id, more + bytes_of(field, meta))
-- A task that gets on is not to blame for the crashes before. A first checkpoint may be one
-- that every run makes.
if kind ~= 'checkpoint' or tonumber(ARGV[4]) > 1 then
  local attempts, crashes = string.match(exists('tries') and redis.call('HGET', key('tries'), id) or '', '^(%d+)|(%d+)$')
  if crashes and tonumber(crashes) > 0 then redis.call('HSET', key('tries'), id, attempts .. '|0') end
end
apply_effects(10, effects, at)
flush()
return with_ended({'OK', till})
