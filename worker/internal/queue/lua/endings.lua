-- endings: ends a task (done, cancelled, deleted; for dead see burying.lua) and updates what depends on it.
-- gives: report, awaited, loosen, cancel, erase

-- One task that the other waited for is done.
local function release(id, at)
  if count('blocked', id, -1) > 0 then return end
  redis.call('HDEL', key('blocked'), id)
  local record = redis.call('HGET', key('tasks'), id)
  local line = line_of(record)
  if line then place(id, line, options_of(record), at) end
end

-- Whether a task waits for another. One of the same id may have waited for it
-- before, and been deleted: it still stands among the followers.
local function follows(follower, text, id)
  if redis.call('HEXISTS', key('blocked'), follower) == 0 then return false end
  for _, other in ipairs(options_of(text).f or {}) do
    if other == id then return true end
  end
  return false
end

-- All followers of a task: the last page, and those that were full; these are taken away.
local function with_pages(id, last)
  local n = counted('followers', id .. '|')
  if n == 0 then return last end
  local pages = {}
  for i = 1, n do
    local page = redis.call('HGET', key('followers'), id .. '|' .. i)
    if not page then break end
    pages[i] = page
    redis.call('HDEL', key('followers'), id .. '|' .. i)
  end
  redis.call('HDEL', key('followers'), id .. '|')
  pages[#pages + 1] = last
  return table.concat(pages)
end

-- Has the reply name a task that ended as how.
local function report(id, record, how)
  local n = #ended
  ended[n + 1], ended[n + 2] = id, string.match(record, '^([^|\n]*)') or ''
  ended[n + 3], ended[n + 4] = queue_of(line_of(record) or ''), how
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
    forget(id, {'waiting', 'cancelling', 'progress', 'returned'})
    if exists('holders') then turns().let_go(id) end
    if exists('deadlines') then redis.call('ZREM', key('deadlines'), id) end
    local followers = how ~= 'dead' and exists('followers') and redis.call('HGET', key('followers'), id)
    if followers then redis.call('HDEL', key('followers'), id) end
    followers = followers and with_pages(id, followers)
    local seen = {}
    for follower in string.gmatch(followers or '', '%S+') do
      local text = not seen[follower] and redis.call('HGET', key('tasks'), follower)
      seen[follower] = true
      if text and follows(follower, text, id) then
        if how == 'done' then
          release(follower, at)
        else
          redis.call('HDEL', key('blocked'), follower)
          redis.call('HSET', key('reasons'), follower,
            '{"reason":"cancelled","error":"it was to run after ' .. id .. ', which was ' .. how .. '"}')
          redis.call('ZADD', key('cancelled'), int(at), follower)
          note(follower, at, 'cancelled', '{"after":"' .. id .. '"}')
          report(follower, text, 'cancelled')
          there.history, there.cancelled, there.reasons = true, true, true
          local queue = queue_of(line_of(text) or '')
          tally(queue, 'cancelled', 1)
          weigh(queue, follower, -1)
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
  report(id, record, 'cancelled')
  there.history, there.cancelled, there.reasons = true, true, true
  tally(queue, 'cancelled', 1)
  weigh(queue, id, -1)
  loosen(id, record, 'cancelled', at)
end

-- Forgets all that is kept of a task that has ended.
local function erase(id)
  redis.call('HDEL', key('tasks'), id)
  disembody({id})
  unstep({id})
  forget(id, {'tries', 'history', 'reasons', 'results'})
end
