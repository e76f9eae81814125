-- effects: what a handler gave to its task's transaction. Each effect is its kind and its arguments:
--   save      entry key, lock key, lock token, value, ttl in ms
--   destroy   entry key, lock key, lock token
--   push      entry key, lock key, lock token, value
--   increment entry key, lock key, lock token, delta (an integer)
--   enqueue   a group of one task, see adding.lua
--   publish   channel, message
-- gives: effects_refused, skip_effects, apply_effects
local effect_words = {save = 5, destroy = 3, push = 4, increment = 4, enqueue = group_words + 2, publish = 2}
local version -- of all entries that this script writes

local function apply(kind, a, at)
  if kind == 'save' or kind == 'push' or kind == 'increment' then version = version or cache_version(ARGV[a]) end
  if kind == 'save' then cache_save(ARGV[a], ARGV[a + 3], ARGV[a + 4], version)
  elseif kind == 'destroy' then cache_destroy(ARGV[a])
  elseif kind == 'push' then cache_push(ARGV[a], ARGV[a + 3])
  elseif kind == 'increment' then cache_increment(ARGV[a], ARGV[a + 3], version)
  elseif kind == 'publish' then redis.call('PUBLISH', ARGV[a], ARGV[a + 1])
  else
    local group = read_group(a)
    if #add(group, at, false) > 0 then report(ARGV[group.first], group.head, 'duplicate') end
  end
end

-- An effect that is not applied stores no task.
local function withhold(a)
  local body = read_group(a).body
  if body then settle(body) end
end

local function refuses(kind, a)
  if kind == 'publish' then return nil end
  if kind == 'enqueue' then
    local group = read_group(a)
    return group_refuses(group, {}) and 'WRONGTYPE' or not embodied(group) and 'EXPIRED' or nil
  end
  return cache_refuses(kind, ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3])
end

-- The code why one of n effects, from position e on, cannot be applied, or nil. Reads only.
local function effects_refused(e, n)
  local code
  for _ = 1, n do
    code = code or refuses(ARGV[e], e + 1)
    e = e + 1 + effect_words[ARGV[e]]
  end
  if n > 0 then cache_planned = {} end -- what was foreseen is done now, or will not be
  return code
end

-- The position after n effects, from position e on.
local function skip_effects(e, n)
  for _ = 1, n do e = e + 1 + effect_words[ARGV[e]] end
  return e
end

-- Applies n effects, from position e on, or none if they were refused. Returns the position after them.
local function apply_effects(e, n, at, refused)
  for _ = 1, n do
    if not refused then apply(ARGV[e], e + 1, at) elseif ARGV[e] == 'enqueue' then withhold(e + 1) end
    e = e + 1 + effect_words[ARGV[e]]
  end
  return e
end
