-- digits: Redis's clock in milliseconds, as 13 digits. It stands alone: a script pays on
-- every run for each function that is joined to it.
local function cache_digits()
  local t = redis.call('TIME')
  return string.format('%010d%03d', tonumber(t[1]), math.floor(t[2] / 1000))
end
