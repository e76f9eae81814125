-- registering: whose definition of a periodic task counts. The hash periodic:set has those that were
-- set at run time, periodic:registered when a program was last seen that registers one.

-- Whether a running program registers the periodic task: then its definition counts. Programs
-- are noted every 20 s.
local function registered(name, at)
  local seen = tonumber(redis.call('HGET', key('periodic:registered'), name) or '')
  return seen and math.abs(at - seen) <= 60000
end
