-- tick: the next of the numbers that only grow, in 16 digits, and the instant in
-- milliseconds. The number is microseconds, or one more than the last where the clock has not
-- moved on. After a rollback of the data set they go on above those that were
-- given and lost, which a plain count would repeat.
local function cache_tick(clock)
  local t = redis.call('TIME')
  local tick = t[1] * 1e6 + t[2]
  local at = math.floor(tick / 1000)
  local digits = string.format('%016.0f', tick)
  local last = tonumber(redis.call('SET', clock, digits, 'GET') or 0)
  if last >= tick then
    digits = string.format('%016.0f', last + 1)
    redis.call('SET', clock, digits)
  end
  return digits, at
end
