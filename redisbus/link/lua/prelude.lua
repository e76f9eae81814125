-- prelude: what all scripts share.

-- Redis's clock in milliseconds, and the microseconds beyond these: one time in the whole script, as
-- Redis 7 has it by itself.
local now
do
  local ms, beyond
  function now()
    if ms then return ms, beyond end
    local t = redis.call('TIME')
    ms, beyond = t[1] * 1000 + math.floor(t[2] / 1000), t[2] % 1000
    return ms, beyond
  end
end

-- All digits of a whole number: Lua's own conversion keeps 14 of them.
local function int(n)
  return string.format('%.0f', n)
end

-- Whether the key is free or has the type kind, and the key's type. Redis does not
-- undo the writes of a script that fails midway, so every key is checked before the
-- first write.
local function fits(key, kind)
  local t = redis.call('TYPE', key)
  t = t.ok or t
  return t == 'none' or t == kind, t
end

-- At maxmemory Redis refuses the first write of a script unless that write frees
-- memory, and allows all later writes. Scripts that must work at maxmemory, because
-- they free memory in the end, call writable before any other write.
local function writable(key)
  redis.call('DEL', key .. ':never')
end
