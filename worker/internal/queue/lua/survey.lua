-- survey: counts what waits in queues. It looks at queues that have tasks and at no others, and at some after
-- the others when they are many, so that it is short whatever is stored.
-- KEYS 1 tasks
-- ARGV 1 how many queues it names at most  2 about how many commands it gives to Redis for the queues with
--      tasks  3 the queue that the survey before looked at last, or ''
-- Returns {'OK', ms on Redis's clock, number of queues that were ever used, some of these or all, queues that
--         have tasks, the queue that was looked at last or '', {queue, urgent tasks, normal ones, low ones, tasks in
--         groups, groups, delayed tasks, when in ms the first one was stored or 0} of each that was looked at,
--         {'queue|task name', parked tasks} of parked lists, blocked tasks, dead ones, cancelled ones}
local most, budget, spent = tonumber(ARGV[1]), tonumber(ARGV[2]), 0

-- A command on a key that may be something else's: then what is there counts as nothing.
local function ask(...)
  spent = spent + 1
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then return nil end
  return reply
end
local function number(...)
  local n = ask(...)
  return type(n) == 'number' and n or 0
end
local function length(line) return number('LLEN', key('queue:' .. line)) end

local ready, later = {}, {}
for _, queue in ipairs(ask('SRANDMEMBER', key('ready'), most) or {}) do ready[queue] = true end
for _, queue in ipairs(ask('ZRANGE', key('next'), 0, int(most - 1)) or {}) do later[queue] = true end
local busy = {}
for queue in pairs(ready) do busy[#busy + 1] = queue end
for queue in pairs(later) do
  if not ready[queue] then busy[#busy + 1] = queue end
end
table.sort(busy)

-- Those after the one of the survey before come first.
local first = 1
while first <= #busy and busy[first] <= ARGV[3] do first = first + 1 end
local order = {}
for i = 0, #busy - 1 do order[#order + 1] = busy[(first - 1 + i) % #busy + 1] end

local rows, heads, of = {}, {}, {}
local function look(queue, marked, grouped)
  local row = {queue, 0, 0, 0, grouped, 0, 0, 0}
  local function head(line)
    local id = ask('LINDEX', key('queue:' .. line), -1)
    if id then heads[#heads + 1], of[#of + 1] = id, row end
  end
  if ready[queue] then
    row[3] = length(queue)
    if row[3] > 0 then head(queue) end
  end
  for i, mark in ipairs(marked and {'^', '~'} or {}) do
    row[2 * i] = length(queue .. mark)
    if row[2 * i] > 0 then head(queue .. mark) end
  end
  if grouped > 0 then
    row[6] = number('ZCARD', key('groups:' .. queue))
    for _, group in ipairs(ask('ZRANGE', key('groups:' .. queue), 0, 1) or {}) do
      for _, mark in ipairs(group ~= '' and {'!', '^', '', '~'} or {}) do head(queue .. '/' .. group .. mark) end
    end
  end
  if later[queue] then row[7] = number('ZCARD', key('delayed:' .. queue)) end
  rows[#rows + 1] = row
end

local block = 50
for from = 1, #order, block do
  if spent >= budget then break end
  local some, lines = {unpack(order, from, math.min(from + block - 1, #order))}, {}
  for _, queue in ipairs(some) do
    lines[#lines + 1], lines[#lines + 2] = key('queue:' .. queue .. '^'), key('queue:' .. queue .. '~')
  end
  local marked, grouped = number('EXISTS', unpack(lines)) > 0, ask('HMGET', key('grouped'), unpack(some)) or {}
  for i, queue in ipairs(some) do look(queue, marked, count_of(grouped[i])) end
end

for from = 1, #heads, 100 do
  local records = ask('HMGET', key('tasks'), unpack(heads, from, math.min(from + 99, #heads))) or {}
  for i, record in ipairs(records) do
    local stored = record and string.match(record, '^[^|\n]*|[^|\n]*|(%x+)')
    stored = stored and #stored >= 9 and tonumber(stored, 16)
    local row = of[from + i - 1]
    if stored and (row[8] == 0 or stored < row[8]) then row[8] = stored end
  end
end

local flat = {}
for _, row in ipairs(rows) do
  flat[#flat + 1] = row[1]
  for i = 2, 8 do flat[#flat + 1] = int(row[i]) end
end
local parked = {}
for _, list in ipairs(ask('SRANDMEMBER', key('parked'), 100) or {}) do
  parked[#parked + 1], parked[#parked + 2] = list, int(number('LLEN', key('parked:' .. list)))
end
return {'OK', int(now()), number('SCARD', key('queues')), ask('SRANDMEMBER', key('queues'), most) or {}, busy, #rows > 0 and rows[#rows][1] or '', flat, parked,
  number('HLEN', key('blocked')), number('ZCARD', key('dead')), number('ZCARD', key('cancelled'))}
