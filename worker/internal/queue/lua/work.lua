-- work: commits tasks that are done and nothing more, and claims others. It does in one flat
-- script what commit.lua and claim.lua do of that, for queues for which nothing is set. If
-- there is anything else to heed it does nothing, and these two have to be sent instead.
-- KEYS 1 tasks
-- ARGV 1 incarnation  2 commit number, or '' without a commit  3 claim number  4 how many to claim
--      5 '1' when it idled or tended before  6 for how many ms it would tend, or ''
--      7 how many queues it serves, then these, the most urgent first, then how many queues' speeds and how many queues with done tasks, as
--      in commit.lua
-- Returns {'OK', parked lists, keys of the wrong type, {id, tries, …} of tasks that were
--         tried before, ids, records, 1 when it counts as idle now, 2 when it tends, or 0, ms on Redis's
--         clock} | {'OTHER'} (nothing was done)
local incarnation, want, served = ARGV[1], tonumber(ARGV[4]), 7 + tonumber(ARGV[7])
local owned, stream, at = key('owned:' .. incarnation), key('stream:' .. incarnation), now()

if tonumber(redis.call('ZSCORE', key('leases'), incarnation) or 0) <= at then return {'OTHER'} end
local last = redis.call('HMGET', stream, 'commit', 'claim', 'refused', 'solo')
if ARGV[2] ~= '' and tonumber(last[1] or 0) ~= ARGV[2] - 1 or tonumber(last[2] or 0) ~= ARGV[3] - 1 or last[4] then return {'OTHER'} end

local first_speed = served + 2
local speeds = tonumber(ARGV[served + 1])
local c = first_speed + 5 * speeds
local groups, done, queues = tonumber(ARGV[c]), {}, {unpack(ARGV, 8, served)}
c = c + 1
for i = 1, groups do
  local n = tonumber(ARGV[c + 1])
  done[i], queues[#queues + 1] = {unpack(ARGV, c + 2, c + 1 + n)}, ARGV[c]
  c = c + 2 + n
end
for _, set in ipairs(redis.call('HMGET', key('settings'), unpack(queues))) do
  if set then return {'OTHER'} end
end

-- What may hang on tasks: most often nothing, on none of them.
local hanging = redis.call('EXISTS', key('followers'), key('waiting'), key('cancelling'), key('progress'), key('tries'),
  key('history'), key('deadlines'), key('parked'), key('bodies'), key('steps'))
local large = hanging > 0 and redis.call('EXISTS', key('bodies')) == 1
if large and not fits(key('bodies'), 'hash') then return {'OTHER'} end
for _, ids in ipairs(done) do
  for _, mine in ipairs(redis.call('HMGET', owned, unpack(ids))) do
    if not mine then return {'OTHER'} end
  end
  if hanging > 0 then
    for _, name in ipairs({'followers', 'waiting', 'steps'}) do
      for _, hangs in ipairs(redis.call('HMGET', key(name), unpack(ids))) do
        if hangs then return {'OTHER'} end
      end
    end
    for _, name in ipairs({'cancelling', 'progress', 'tries', 'history'}) do
      if not fits(key(name), 'hash') then return {'OTHER'} end
    end
  end
end
if not (fits(key('tasks'), 'hash') and fits(key('tries'), 'hash') and fits(owned, 'hash') and fits(key('stats'), 'hash') and fits(key('active'), 'hash')) then
  return {'OTHER'}
end

local hands = {}
for i, ids in ipairs(done) do -- at maxmemory the first write must free memory
  local queue = queues[served - 7 + i]
  redis.call('HDEL', key('tasks'), unpack(ids))
  redis.call('HDEL', owned, unpack(ids))
  if hanging > 0 then
    for _, name in ipairs({'cancelling', 'progress', 'tries', 'history'}) do redis.call('HDEL', key(name), unpack(ids)) end
  end
  if large then -- see bodies.lua
    for _, body in ipairs(redis.call('HMGET', key('bodies'), unpack(ids))) do
      if body then redis.call('UNLINK', key('body:' .. string.match(body, '^%w+'))) end
    end
    redis.call('HDEL', key('bodies'), unpack(ids))
  end
  count('stats', queue .. '|done', #ids)
  hands[queue] = (hands[queue] or 0) - #ids
end
if ARGV[2] == '' then
  writable(owned)
  redis.call('HSET', stream, 'claim', ARGV[3])
else
  redis.call('HSET', stream, 'commit', ARGV[2], 'claim', ARGV[3])
  if last[3] and last[3] ~= '' then redis.call('HSET', stream, 'refused', '') end
end
for i = 0, speeds - 1 do speed(first_speed + 5 * i, at) end

local most = 1048576 -- see claim.lua
local ids, records, own, broken, stamp = {}, {}, {}, {}, ARGV[3] .. '|' .. int(at)
local bytes, asked, tended = 0, 0, false
for i = 8, served do
  local theirs = (tender(ARGV[i], at) or incarnation) ~= incarnation
  tended = tended or theirs
  for _, mark in ipairs({'^', '', '~'}) do
    local list, some, more = key('queue:' .. ARGV[i] .. mark), 4, true
    -- What another tends is left to that one, unless it has fallen behind.
    if theirs and redis.call('LLEN', list) < 100 then more = false end
    while more and asked < want and bytes < most do
      local n = math.min(want - asked, some)
      local got = redis.pcall('RPOP', list, n) or {}
      if got.err then
        broken[#broken + 1], got = list, {}
      end
      local found = #got > 0 and redis.call('HMGET', key('tasks'), unpack(got)) or {}
      local bodies = large and #got > 0 and redis.call('HMGET', key('bodies'), unpack(got))
      for j, record in ipairs(found) do
        if bytes >= most then -- what does not fit goes back where it was
          for back = #got, j, -1 do redis.call('RPUSH', list, got[back]) end
          break
        end
        asked = asked + 1
        if record then
          ids[#ids + 1], records[#records + 1], bytes = got[j], record, bytes + #record
          if bodies and bodies[j] then bytes = bytes + tonumber(string.match(bodies[j], '%d+$')) end
          own[#own + 1], own[#own + 2] = got[j], stamp
          hands[ARGV[i]] = (hands[ARGV[i]] or 0) + 1
        end
      end
      more, some = #got == n, math.min(4 * some, 256)
    end
  end
end
for from = 1, #own, 500 do redis.call('HSET', owned, unpack(own, from, math.min(from + 499, #own))) end
for queue, n in pairs(hands) do
  if n ~= 0 and count('active', queue, n) == 0 then redis.call('HDEL', key('active'), queue) end
end
local tried, parked = {}, {}
if hanging > 0 then
  for from = 1, #ids, 500 do
    local some = {unpack(ids, from, math.min(from + 499, #ids))}
    redis.pcall('ZREM', key('deadlines'), unpack(some)) -- the node ends them now
    for i, counts in ipairs(redis.call('HMGET', key('tries'), unpack(some))) do
      if counts then tried[#tried + 1], tried[#tried + 2] = some[i], counts end
    end
  end
  parked = fits(key('parked'), 'set') and redis.call('SMEMBERS', key('parked')) or parked
end

local idle = asked < want and bytes < most

-- It tends its queues if tasks came, and nobody else does: those that are in ready, where a task
-- that nobody is woken for has to be.
local tends, ready = idle and ARGV[6] ~= '' and #ids > 0 and #parked == 0 and #broken == 0 and not tended, {}
if tends then ready = redis.pcall('SMISMEMBER', key('ready'), unpack(ARGV, 8, served)) end
local till = {}
for i = 8, served do
  if ready[i - 7] == 1 then till[#till + 1], till[#till + 2] = ARGV[i], int(at + ARGV[6]) .. '|' .. incarnation end
end
tends = #till > 0 and type(redis.pcall('HSET', key('tended'), unpack(till))) == 'number'
if idle or ARGV[5] == '1' then
  for i = 8, served do
    local waits = idle and not (tends and ready[i - 7] == 1) -- to be woken
    if ARGV[5] == '1' and (waits or not tends) then untend(ARGV[i], incarnation) end
    if type(redis.pcall(waits and 'SADD' or 'SREM', key('idle:' .. ARGV[i]), incarnation)) == 'table' then
      broken[#broken + 1] = key('idle:' .. ARGV[i])
    end
  end
end
if not idle then -- there may be more: whoever idles takes it
  for i = 8, served do
    if redis.call('EXISTS', key('queue:' .. ARGV[i] .. '^'), key('queue:' .. ARGV[i]), key('queue:' .. ARGV[i] .. '~')) > 0 then rouse(ARGV[i]) end
  end
end
return {'OK', parked, broken, tried, ids, records, tends and 2 or idle and 1 or 0, int(at)}
