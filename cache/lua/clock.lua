-- clock: one script is one instant, in milliseconds on Redis's clock.
local cache_instant
local function cache_now()
  cache_instant = cache_instant or now()
  return cache_instant
end
