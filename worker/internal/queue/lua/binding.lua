-- binding: stores new tasks that have a unique key or follow other tasks.
binding = {}

function binding.refuses() return wrong({'reasons', 'hash'}) or wrong_ties() end

-- Somebody waits for a task that this script stores, and may end.
function binding.awaited() there.waiting = true end

-- Takes the unique key for a task; returns the id of who has it already.
function binding.seize(group, id, at)
  local name = group.unique
  local holder = exists('unique') and redis.call('HGET', key('unique'), name)
  if holder and holder ~= id then
    local till = redis.call('ZSCORE', key('unique:until'), name)
    if till and tonumber(till) > at or not till and redis.call('HEXISTS', key('tasks'), holder) == 1 then return holder end
  end
  redis.call('HSET', key('unique'), name, id)
  there.unique = true
  if group.lasting ~= '' then
    redis.call('ZADD', key('unique:until'), int(at + tonumber(group.lasting)), name)
  else
    redis.call('ZREM', key('unique:until'), name)
  end
end

-- Notes who follows. Full pages are put aside, so that the thousandth costs what
-- the first does.
local function follow(other, id)
  local page = (redis.call('HGET', key('followers'), other) or '') .. id .. ' '
  if #page > 4000 then
    local n = count('followers', other .. '|', 1)
    redis.call('HSET', key('followers'), other .. '|' .. int(n), page)
    page = ''
  end
  redis.call('HSET', key('followers'), other, page)
  there.followers = true
end

-- Holds a task up until others are done; those that are not known any more count
-- as done. Returns for how many it waits, or nil and one that was cancelled.
local function block(id, after)
  local n, seen = 0, {}
  for other in string.gmatch(after, '%S+') do
    if redis.call('ZSCORE', key('cancelled'), other) then return nil, other end
  end
  for other in string.gmatch(after, '%S+') do
    local record = not seen[other] and redis.call('HGET', key('tasks'), other)
    if record and not retained(record) and not redis.call('ZSCORE', key('done'), other) then
      n = n + 1
      follow(other, id)
    end
    seen[other] = true
  end
  if n > 0 then
    redis.call('HSET', key('blocked'), id, n)
    there.blocked = true
  end
  return n
end

-- Holds up the tasks of a group that follow others, and returns those that need not wait.
function binding.hold(group, ids, at)
  local ready = {}
  for _, id in ipairs(ids) do
    local n, cancelled = block(id, group.after)
    if not n then
      cancel(id, redis.call('HGET', key('tasks'), id),
        '{"reason":"cancelled","error":"it was to run after ' .. cancelled .. ', which was cancelled"}', at)
    elseif n == 0 then
      ready[#ready + 1] = id
    end
  end
  return ready
end
