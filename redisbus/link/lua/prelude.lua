-- prelude: what all scripts share.

-- Redis's clock in milliseconds.
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- All digits of a whole number: Lua's own conversion keeps 14 of them.
local function int(n)
  return string.format('%.0f', n)
end

-- Whether the key is free or of that type, and its type. A script that fails
-- midway keeps what it wrote, so every key is checked before the first write.
local function fits(key, kind)
  local t = redis.call('TYPE', key)
  t = t.ok or t
  return t == 'none' or t == kind, t
end

-- At maxmemory Redis refuses the first write of a script unless it frees
-- memory, and lets every later one through. Called first by scripts that must
-- go on then: without them nothing would ever be freed.
local function writable(key)
  redis.call('DEL', key .. ':never')
end
