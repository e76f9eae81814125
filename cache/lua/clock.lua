-- One script is one instant, in milliseconds on Redis's clock.
local cache_instant
local function cache_now()
  cache_instant = cache_instant or now()
  return cache_instant
end

-- The next of the numbers that only grow: microseconds, or one more than the
-- last where the clock has not moved on. After a rollback of the data set they
-- go on above those that were given and lost, which a plain count would repeat.
local function cache_tick(clock)
  local t = redis.call('TIME')
  local tick = t[1] * 1e6 + t[2]
  local last = tonumber(redis.call('SET', clock, int(tick), 'GET') or 0)
  if last >= tick then
    tick = last + 1
    redis.call('SET', clock, int(tick))
  end
  return string.format('%016.0f', tick)
end
