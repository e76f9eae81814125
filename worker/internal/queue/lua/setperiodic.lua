-- setperiodic: sets a periodic task at run time, or changes it. With another schedule it ticks
-- from now on.
-- KEYS 1 tasks
-- ARGV 1 name  2 definition (JSON)
-- Returns {'OK'} | {'OWNED'} (a running program registers a periodic task of that name) | {'WRONGTYPE', key}
local name, definition = ARGV[1], ARGV[2]
local mistyped = wrong({'periodic', 'hash', 'periodic:definitions', 'hash', 'periodic:set', 'hash', 'periodic:registered', 'hash', 'periodic:programs', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local at = now()
if registered(name, at) then return {'OWNED'} end

local function schedule(text)
  local ok, definition = pcall(cjson.decode, text or '')
  return ok and type(definition) == 'table' and definition.schedule
end
local same = schedule(redis.call('HGET', key('periodic:definitions'), name)) == schedule(definition)
local new, last, paused = string.match(redis.call('HGET', key('periodic'), name) or '', '^(0?)(%d+)|(1?)$')
if not last or not same then redis.call('HSET', key('periodic'), name, (new or '0') .. int(at) .. '|' .. (paused or '')) end
redis.call('HSET', key('periodic:set'), name, definition)
redis.call('HSET', key('periodic:definitions'), name, definition)
redis.call('PUBLISH', channel('set'), '')
return {'OK'}
