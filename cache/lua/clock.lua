-- clock: the time in milliseconds on Redis's clock, the same during a whole script.
local cache_instant
local function cache_now()
  cache_instant = cache_instant or now()
  return cache_instant
end
