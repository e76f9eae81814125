-- tick: returns the last of so many numbers in a row (one by default) that are greater than
-- all before, in 16 digits, and the time in milliseconds. The first is Redis's time in
-- microseconds, or the last number before plus one if the clock has not advanced. So numbers
-- do not repeat even if Redis has lost its last writes, as those of a plain counter would.
local function cache_tick(clock, many)
  local more = (many or 1) - 1
  local t = redis.call('TIME')
  local tick = t[1] * 1e6 + t[2]
  local at = math.floor(tick / 1000)
  local digits = string.format('%016.0f', tick + more)
  local last = tonumber(redis.call('SET', clock, digits, 'GET') or 0)
  if last and last >= tick and last < 1e16 - 1000000 then -- anything else is not ours
    digits = string.format('%016.0f', last + 1 + more)
    redis.call('SET', clock, digits)
  end
  return digits, at
end
