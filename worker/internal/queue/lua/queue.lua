-- queue: changes the settings of a queue. Limits set by an operator take precedence over
-- limits set by programs.
-- KEYS 1 tasks
-- ARGV 1 queue  2 'program' or 'operator' to set limits, 'reset' to take back the operator's,
--      or else the program's, 'pause' or 'resume', which ends its rest too,  3 limits: tasks at a time|tasks|bytes|tasks at a time of a group|'1' when these are strict|rate|rate of each
--      group, 0 or '' for none (see places.lua)  4 of 'operator': the limits that have to be in effect, else
--      nothing changes; '' for any
-- Returns {'OK', what is in effect now: '1' when paused, |, limits, |, '1' to look at its groups and its rest,
--         '1' when the queue is to be weighed (see weigh.lua), = and the rate of its groups before when these may go on: see group.lua, or '',
--         '1' (other limits are in effect than those that have to be: nothing has changed) or ''}
--       | {'WRONGTYPE', key}
local queue, verb, offers = ARGV[1], ARGV[2], false
local mistyped = mending_refuses() or wrong({'weighed:' .. queue, 'set'})
if mistyped then return {'WRONGTYPE', mistyped} end

local none = '0|0|0|0|||'
local was = redis.call('HGET', key('settings'), queue) or '|' .. none .. '|'
local old = settings(queue)
local paused, special, before = old.paused, old.special, old.bytes

-- The limits that count.
local function limits()
  local text = redis.call('HGET', key('settings'), queue .. '|operator') or redis.call('HGET', key('settings'), queue .. '|program') or none
  if string.find(text, '^%d+|%d+|%d+$') then text = text .. '|0|||' end -- of an older program
  return text
end
local function shown() return (paused and '1' or '') .. '|' .. limits() .. '|' .. (special and '1' or '') end
if verb == 'operator' and ARGV[4] ~= '' and ARGV[4] ~= limits() then return {'OK', shown(), '', '', '1'} end

writable(key('settings')) -- to pause a queue helps at maxmemory
if verb == 'pause' or verb == 'resume' then
  paused = verb == 'pause'
  if not paused and redis.call('ZREM', key('resting'), queue) == 1 then offers = true end
elseif verb == 'reset' then
  -- What a program has set goes only if there is nothing else to take back: it may be gone.
  if redis.call('HDEL', key('settings'), queue .. '|operator') == 0 then redis.call('HDEL', key('settings'), queue .. '|program') end
else
  redis.call('HSET', key('settings'), queue .. '|' .. verb, ARGV[3])
end

local text = shown()
if text == '|' .. none .. '|' then
  redis.call('HDEL', key('settings'), queue)
else
  redis.call('HSET', key('settings'), queue, text)
end
known(queue)
all_set = {}

local new_words, old_words = {string.match(text, settings_form)}, {string.match(was, settings_form)}
local function differs(i) return (new_words[i] or '') ~= (old_words[i] or '') end
if differs(7) and exists('rates') then turns().rescale(queue, old.rate, settings(queue).rate) end -- for groups see group.lua

-- A new bound on bytes: the tasks that are there are weighed some at a time.
if settings(queue).bytes > 0 and before == 0 then
  redis.call('HSET', key('weighing'), queue, int(count('stats', queue .. '|weighings', 1)) .. '|0')
elseif settings(queue).bytes == 0 then
  redis.call('HDEL', key('bytes'), queue)
  redis.call('HDEL', key('weighing'), queue)
  redis.call('UNLINK', key('weighed:' .. queue))
end

if text ~= was or offers then -- programs say theirs again every few seconds
  if pending(queue) then wake(queue) end
  offer_parked(queue)
end
return {'OK', text, redis.call('HEXISTS', key('weighing'), queue) == 1 and '1' or '', (differs(5) or differs(6) or differs(8)) and (special or exists('rates')) and '=' .. (old_words[8] or '') or '', ''}
