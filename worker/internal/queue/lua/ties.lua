-- ties: what may hang on a task besides its place.

local ties = {'tries', 'hash', 'history', 'hash', 'deadlines', 'zset', 'unique', 'hash', 'unique:until', 'zset', 'followers', 'hash', 'blocked', 'hash', 'waiting', 'hash',
  'cancelling', 'hash', 'progress', 'hash', 'cancelled', 'zset', 'bytes', 'hash', 'weighing', 'hash', 'bodies', 'hash', 'steps', 'hash', unpack(party_kinds())}

-- The first of these keys that is of another type than it must have, or nil.
local function wrong_ties() return wrong_some(ties) end

-- Whether anything hangs on any task.
local function tied()
  return exists('unique') or exists('followers') or exists('waiting') or exists('cancelling') or exists('progress') or exists('holders')
end

-- Takes an id out of these hashes.
local function forget(id, names)
  for _, name in ipairs(names) do
    if exists(name) then redis.call('HDEL', key(name), id) end
  end
end

-- Removes the bodies of tasks of which the records go.
local function disembody(ids)
  if not exists('bodies') then return end
  for from = 1, #ids, 500 do
    local some = {unpack(ids, from, math.min(from + 499, #ids))}
    for _, body in ipairs(redis.call('HMGET', key('bodies'), unpack(some))) do
      if body then redis.call('UNLINK', (body_of(body))) end
    end
    redis.call('HDEL', key('bodies'), unpack(some))
  end
end

-- Forgets the steps of tasks, see step.lua.
local function unstep(ids)
  if not exists('steps') then return end
  for _, id in ipairs(ids) do
    if redis.call('HDEL', key('steps'), id) == 1 then redis.call('UNLINK', key('steps:' .. id), key('stepped:' .. id)) end
  end
end
