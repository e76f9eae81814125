-- digits: Redis's clock in milliseconds, as 13 digits. It needs no other snippet: every
-- function in a script costs time in each run.
local function cache_digits()
  local t = redis.call('TIME')
  return string.format('%010d%03d', tonumber(t[1]), math.floor(t[2] / 1000))
end
