-- What follows when a task ends, for good or until somebody mends it.

-- Whether a key exists, asked once in a script: most tasks have nothing that
-- hangs on them, and then none of these does.
local there = {}
local function exists(name)
  if there[name] == nil then there[name] = redis.call('EXISTS', key(name)) == 1 end
  return there[name]
end

local ties = {unique = 'hash', ['unique:until'] = 'zset', followers = 'hash', blocked = 'hash', waiting = 'hash',
  cancelling = 'hash', progress = 'hash', history = 'hash', cancelled = 'zset'}

-- The first of these keys that is of another type than it must have, or nil.
local function wrong_ties()
  local names = {}
  for name in pairs(ties) do names[#names + 1] = key(name) end
  if redis.call('EXISTS', unpack(names)) > 0 then return wrong(ties) end
  for name in pairs(ties) do there[name] = false end
end

-- Whether anything hangs on any task.
local function tied()
  return exists('unique') or exists('followers') or exists('waiting') or exists('cancelling') or exists('progress')
end

-- Takes an id out of these hashes.
local function forget(id, names)
  for _, name in ipairs(names) do
    if exists(name) then redis.call('HDEL', key(name), id) end
  end
end

-- One task that the other waited for is done.
local function release(id, at)
  if redis.call('HINCRBY', key('blocked'), id, -1) > 0 then return end
  redis.call('HDEL', key('blocked'), id)
  local record = redis.call('HGET', key('tasks'), id)
  local line = line_of(record)
  if line then place(id, line, options_of(record), at) end
end

-- Ids of tasks that ended and for whose end somebody waited.
local awaited = {}

-- What hangs on a task that ends as how: done, dead, cancelled or deleted. It
-- frees its unique key, tells who waits for it, lets go whom it held up, and
-- takes those with it that can never run now. The record is still there.
local function loosen(id, record, how, at)
  local ending = {{id, record, how}}
  while #ending > 0 do
    id, record, how = unpack(table.remove(ending))
    if record and exists('unique') then
      local name = options_of(record).u
      if name and redis.call('HGET', key('unique'), name) == id and not redis.call('ZSCORE', key('unique:until'), name) then
        redis.call('HDEL', key('unique'), name)
      end
    end
    if exists('waiting') and redis.call('HEXISTS', key('waiting'), id) == 1 then
      -- Who is told finds it, also if nothing else remembers it.
      if how == 'done' then redis.call('ZADD', key('done'), int(at + 60000), id) end
      awaited[id] = true
      redis.call('PUBLISH', channel('ended:' .. id), how)
    end
    forget(id, {'waiting', 'cancelling', 'progress'})
    local followers = how ~= 'dead' and exists('followers') and redis.call('HGET', key('followers'), id)
    if followers then redis.call('HDEL', key('followers'), id) end
    for follower in string.gmatch(followers or '', '%S+') do
      if redis.call('HEXISTS', key('blocked'), follower) == 1 then
        if how == 'done' then
          release(follower, at)
        else
          local text = redis.call('HGET', key('tasks'), follower)
          redis.call('HDEL', key('blocked'), follower)
          redis.call('HSET', key('reasons'), follower,
            '{"reason":"cancelled","error":"it was to run after ' .. id .. ', which was ' .. how .. '"}')
          redis.call('ZADD', key('cancelled'), int(at), follower)
          note(follower, at, 'cancelled', '{"after":"' .. id .. '"}')
          there.history, there.cancelled = true, true
          if text then
            local queue = queue_of(line_of(text) or '')
            tally(queue, 'cancelled', 1)
            weigh(queue, follower, -1)
          end
          ending[#ending + 1] = {follower, text, 'cancelled'}
        end
      end
    end
  end
end

-- Ends a task that is in no place as cancelled. why is JSON.
local function cancel(id, record, why, at)
  local queue = queue_of(line_of(record) or '')
  redis.call('HSET', key('reasons'), id, why)
  redis.call('ZADD', key('cancelled'), int(at), id)
  note(id, at, 'cancelled', why)
  tally(queue, 'cancelled', 1)
  weigh(queue, id, -1)
  loosen(id, record, 'cancelled', at)
end

-- Ends a task that is in no place as dead. why is JSON.
local function bury(id, record, why, at)
  local queue = queue_of(line_of(record) or '')
  redis.call('HSET', key('reasons'), id, why)
  redis.call('ZADD', key('dead'), int(at), id)
  note(id, at, 'dead', why)
  tally(queue, 'dead', 1)
  weigh(queue, id, -1)
  loosen(id, record, 'dead', at)
end

-- Forgets all that is kept of a task that has ended.
local function erase(id)
  redis.call('HDEL', key('tasks'), id)
  forget(id, {'tries', 'history', 'reasons', 'results'})
end
