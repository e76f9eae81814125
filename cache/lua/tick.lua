-- tick: returns a number greater than all before, in 16 digits, and the time in
-- milliseconds. The number is Redis's time in microseconds, or the last number plus one
-- if the clock has not advanced. So numbers do not repeat even if Redis has lost its
-- last writes, as those of a plain counter would.
local function cache_tick(clock)
  local t = redis.call('TIME')
  local tick = t[1] * 1e6 + t[2]
  local at = math.floor(tick / 1000)
  local digits = string.format('%016.0f', tick)
  local last = tonumber(redis.call('SET', clock, digits, 'GET') or 0)
  if last and last >= tick and last < 1e16 - 1 then -- anything else is not ours
    digits = string.format('%016.0f', last + 1)
    redis.call('SET', clock, digits)
  end
  return digits, at
end
