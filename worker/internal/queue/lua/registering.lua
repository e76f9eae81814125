-- registering: whose definition of a periodic task counts. The hash periodic:set has those that were
-- set at run time, periodic:registered when a program was last seen that registers one, and
-- periodic:programs which ones each program registers.

-- Whether a running program registers the periodic task: then its definition counts. Programs
-- say so every 20 s, and listen to a channel of their own as long as they run; older ones do not listen, and
-- are not in periodic:programs.
local function registered(name, at)
  local function recent(seen)
    seen = tonumber(seen or '')
    return seen and math.abs(at - seen) <= 60000
  end
  if not recent(redis.call('HGET', key('periodic:registered'), name)) then return false end
  local programs, older = redis.call('HGETALL', key('periodic:programs')), true
  for i = 1, #programs, 2 do
    local seen, names = string.match(programs[i + 1], '^(%d+)|(.*)$')
    if recent(seen) and string.find(' ' .. names .. ' ', ' ' .. name .. ' ', 1, true) then
      if redis.call('PUBLISH', channel('program:' .. programs[i]), '') > 0 then return true end
      older = false
    end
  end
  return older
end
