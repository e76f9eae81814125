-- tick: enqueues a tick of a periodic task, unless it or a later one was before. The
-- task's id is its name and the tick, so that it exists once. While the task of an
-- earlier tick is parked, ticks are noted and left out. See park() of commit.lua for those
-- that were pending when that was parked.
-- KEYS 1 tasks
-- ARGV 1 name  2 tick in ms  3 'first' to note now as the last tick, so that
--      only later ones are due; 'skip' to note the tick and enqueue nothing;
--      'run' to enqueue it  4 definition (JSON), for those who ask  5 '1' when it was set at
--      run time: it counts only as long as it is set so, and no program registers another
--      6.. a group of one task, see adding.lua
-- Returns {'OK', last tick, paused '1' or '', whether this call enqueued or noted it, now,
--         '' or the last tick that lay in the future and that this call put back to now,
--         '1' if the tick was left out for one that is parked, or ''}
--         | {'OVER'} (a definition that was set does not count any more) | {'WRONGTYPE', key}
local name, tick, verb = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local group = read_group(6)

local mistyped = wrong({'periodic', 'hash', 'periodic:definitions', 'hash', 'periodic:set', 'hash', 'periodic:registered', 'hash', 'periodic:programs', 'hash', 'periodic:history', 'hash', 'tasks', 'hash', 'queues', 'set', 'stats', 'hash'}) or group_refuses(group, {})
if mistyped then return {'WRONGTYPE', mistyped} end

local at = now()
if ARGV[5] ~= '' and (redis.call('HGET', key('periodic:set'), name) ~= ARGV[4] or registered(name, at)) then return {'OVER'} end
if redis.call('HGET', key('periodic:definitions'), name) ~= ARGV[4] then
  redis.call('HSET', key('periodic:definitions'), name, ARGV[4])
end
-- A zero before the time says that no tick has run yet. Nodes of older versions
-- read the same time, and write it without a zero when they note a tick.
local parked = name .. '|' .. group.queue .. '|' .. string.match(group.head, '^[^|]*') -- see tick_field()
local state, waits = unpack(redis.call('HMGET', key('periodic'), name, parked))
local new, last, paused = string.match(state or '', '^(0?)(%d+)|(1?)$')
local did, ahead, left_out = 0, '', ''

-- Adds what came of the tick to the last twenty: tick|now|what.
local function remember(what)
  local past = (redis.call('HGET', key('periodic:history'), name) or '') .. int(tick) .. '|' .. int(at) .. '|' .. what .. '\n'
  local _, lines = string.gsub(past, '\n', '')
  while lines > 20 do past, lines = string.gsub(past, '^[^\n]*\n', '', 1), lines - 1 end
  redis.call('HSET', key('periodic:history'), name, past)
end

if not last or #last > 15 then -- it is new, or what is there is not ours
  if state then alien('periodic') end
  last, paused = int(at), ''
  redis.call('HSET', key('periodic'), name, '0' .. last .. '|')
elseif tonumber(last) > at then
  -- It was noted while Redis's clock was ahead. The ticks from now on are due, except
  -- those that ran then: their ids are taken.
  ahead, last = last, int(at)
  redis.call('HSET', key('periodic'), name, new .. last .. '|' .. paused)
elseif verb ~= 'first' and tick > tonumber(last) and tick <= at then
  local runs = verb == 'run' and paused == ''
  if runs and waits then left_out = '1' end
  last = int(tick)
  redis.call('HSET', key('periodic'), name, (runs and '' or new) .. last .. '|' .. paused)
  local stored = runs and left_out == '' and #add(group, at, false) == 0
  if stored or verb == 'skip' or left_out ~= '' then did = 1 end
  remember(stored and 'enqueued' or paused ~= '' and 'paused' or left_out ~= '' and 'parked' or runs and 'duplicate' or 'missed')
  flush()
end
return {'OK', last, paused, did, int(at), ahead, left_out}
