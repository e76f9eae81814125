-- burying: ends a task as dead. A published definition (see defining.lua) may name a hook: another
-- task, of which one is stored in the same script when a task of the definition is dead. It has
-- the payload and the meta of the dead task, and D in its options says which one that is, and
-- why. When it is dead itself, it has no hook.
-- gives: placeable, hook_refuses, bury

-- Whether there is a place to put a task of that line: both may be something else's keys.
local function placeable(line)
  return takes(line) or fits(key('delayed:' .. queue_of(line)), 'zset')
end

-- The member of a published definition if it is a valid name, or nil.
local function published(name, member)
  local field = fits(key('definitions'), 'hash') and redis.call('HGET', key('definitions'), name)
  local ok, definition = pcall(cjson.decode, string.match(field or '', '^%d+|%d+|([^\n]*)\n') or '')
  local value = ok and type(definition) == 'table' and definition[member]
  return type(value) == 'string' and string.find(value, '^[%w._:-]+$') and value or nil
end

-- The hook of a task that is to be dead, as name and queue, or nil.
local function hook_of(record)
  local name = string.match(record, '^([^|\n]*)|')
  local hook = name and published(name, 'onDead')
  if not hook or options_of(record).D then return nil end
  return hook, published(hook, 'queue') or 'default'
end

-- The key, something else's, because of which the task of the hook would have no place, or nil.
local function hook_refuses(record)
  local _, queue = hook_of(record)
  return queue and not placeable(queue) and key('queue:' .. queue) or nil
end

-- The payload for the task of a hook: a large one becomes a body of its own.
local function inherited(id, record, own, ms)
  local body = exists('bodies') and redis.call('HGET', key('bodies'), id)
  if not body then return string.match(record, '^[^\n]*\n(.*)$') or 'null' end
  local from, bytes = body_of(body)
  local copy = string.match(body, '^%w+') .. 'd' .. string.format('%x', ms)
  if redis.call('COPY', from, key('body:' .. copy), 'REPLACE') == 0 then return 'null' end
  copy = copy .. '|' .. int(bytes)
  redis.call('HSET', key('bodies'), own, copy)
  return '@' .. copy
end

-- Stores the task of a hook. why is JSON.
local function hook_in(id, record, why, at)
  local hook, queue = hook_of(record)
  if not hook then return end
  local own, ms = nil, at
  repeat -- it may be dead for the second time within a millisecond
    own, ms = string.sub(id, 1, 180) .. '.dead.' .. int(ms), ms + 1
  until redis.call('HEXISTS', key('tasks'), own) == 0 and not (fits(key('done'), 'zset') and redis.call('ZSCORE', key('done'), own))
  local meta = options_of(record).m
  local options = type(meta) == 'table' and next(meta) and '{"m":' .. cjson.encode(meta) .. ',"D":' or '{"D":'
  options = options .. '{"id":' .. cjson.encode(id) .. ',"name":' .. cjson.encode(string.match(record, '^[^|]*')) ..
    ',"queue":' .. cjson.encode(queue_of(line_of(record) or '')) .. ',"tries":"' .. (redis.call('HGET', key('tries'), id) or '') ..
    '","at":' .. int(at) .. ',"reason":' .. why .. '}}'
  redis.call('HSET', key('tasks'), own, hook .. '|' .. queue .. '|' .. string.format('%x', at) .. '|' .. options .. '\n' ..
    inherited(id, record, own, ms))
  tally(queue, 'enqueued', 1)
  weigh(queue, own, 1)
  place(own, queue, {}, at)
end

-- Ends a task that is in no place as dead. why is JSON.
local function bury(id, record, why, at)
  local queue = queue_of(line_of(record) or '')
  redis.call('HSET', key('reasons'), id, why)
  redis.call('ZADD', key('dead'), int(at), id)
  note(id, at, 'dead', why)
  tally(queue, 'dead', 1)
  weigh(queue, id, -1)
  hook_in(id, record, why, at)
  loosen(id, record, 'dead', at)
end
