-- show: returns the stored data of one task.
-- KEYS 1 tasks
-- ARGV 1 id  2 how many ids of each end of its line are compared (see seeking.lua)
-- Returns {'OK', state, record, tries, reason, result, progress, history, due in
--         ms, owner, how many of its queue or group go before it ('~' before the number:
--         about), how many others it waits for, '1' when it is to be cancelled,
--         ms on Redis's clock when it ended or until when it is remembered, ms
--         on Redis's clock when its owner claimed it, fields and values of its steps (see step.lua)},
--         '' for what there is not | {'GONE'} | {'WRONGTYPE', key}
local id, near = ARGV[1], tonumber(ARGV[2])
local mistyped = wrong({'tasks', 'hash', 'done', 'zset', 'results', 'hash', 'tries', 'hash', 'dead', 'zset', 'reasons', 'hash', 'leases', 'zset'}) or wrong_ties()
if mistyped then return {'WRONGTYPE', mistyped} end
local record = redis.call('HGET', key('tasks'), id)
local function score(name) return fits(key(name), 'zset') and redis.call('ZSCORE', key(name), id) end
local line = line_of(record) or ''
local queue, name = queue_of(line), record and string.match(record, '^([^|\n]*)') or ''
local party = string.find(line, '/', 1, true) and turns().party(line)
local state, due, owner, position, blocked, stamp, since = nil, '', '', '', '', '', ''

-- The place of a task in its line, of which so many tasks go before it.
local function place_of(before, about)
  for _, mark in ipairs(party and turns().marks or {'^', '', '~'}) do
    if (party or queue) .. mark == line then break end
    local list = key('queue:' .. (party or queue) .. mark)
    if fits(list, 'list') then before = before + redis.call('LLEN', list) end
  end
  position = about .. int(before)
  return 'pending'
end

local function look()
  local kept = retained(record)
  for _, place in ipairs({'done', 'dead', 'cancelled'}) do
    stamp = score(place)
    if stamp then return place end
  end
  stamp = kept and int(tonumber(kept, 16)) or ''
  if kept then return 'done' end
  if not record then return nil end
  due = score('delayed:' .. queue)
  if due then return 'delayed' end
  due = ''
  blocked = redis.call('HGET', key('blocked'), id)
  if blocked then return 'blocked' end
  blocked = ''
  local list = key('queue:' .. line)
  local before, exact
  if fits(list, 'list') then before, exact = seek(list, id, record, near) end
  if exact then return place_of(before, '') end
  if party and fits(key('queue:' .. party .. '!'), 'list') and redis.call('LPOS', key('queue:' .. party .. '!'), id) then
    position = '0'
    return 'pending'
  end
  for _, incarnation in ipairs(lives()) do
    local claim = redis.call('HGET', key('owned:' .. incarnation), id)
    if claim then
      owner, since = incarnation, string.match(claim, '^%d+|(%d+)') or ''
      return 'active'
    end
  end
  list = key('parked:' .. queue .. '|' .. name)
  if fits(list, 'list') and select(2, seek(list, id, record, near)) then return 'parked' end
  if before then return place_of(before, '~') end
  return 'nowhere'
end

state = look()
if not state then return {'GONE'} end
local function of(hash) return redis.call('HGET', key(hash), id) or '' end
return {'OK', state, record or '', of('tries'), of('reasons'), of('results'), of('progress'), of('history'), due, owner,
  position, blocked, of('cancelling') ~= '' and '1' or '', stamp, since,
  of('steps') ~= '' and fits(key('steps:' .. id), 'hash') and redis.call('HGETALL', key('steps:' .. id)) or {}}
