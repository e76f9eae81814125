-- define: publishes a program's definitions of its tasks. If publishers define a task
-- differently, the one with the largest number counts, that is the newest, as long as
-- a publisher repeats its definition.
-- KEYS 1 tasks
-- ARGV 1 number of the publisher, '' for a new one  2 ms after which a definition that
--      nobody repeats may be replaced by any publisher  3 ms for which it is kept then
--      4 version of the program  5.. name, definition (JSON), …
-- Returns {'OK', number, {name, another definition, its version, '1' if it was replaced or '', …}}
--       | {'WRONGTYPE', key}
local mistyped = wrong({'definitions', 'hash'})
if mistyped then return {'WRONGTYPE', mistyped} end
local number, patience, keep, version = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local at, name = now(), key('definitions')
local largest, change = publishers()
local expired, wrote = {}, not number or number > largest
if not number then
  number = largest + 1
  local all = redis.call('HGETALL', name)
  for i = 1, #all, 2 do
    local seen = definition_of(all[i + 1])
    if seen and seen + keep <= at then expired[all[i]] = true end
  end
end
largest = math.max(largest, number)

local others, changed = {}, false
local function put(task, seen, by, text, of)
  wrote = true
  redis.call('HSET', name, task, int(seen) .. '|' .. int(by) .. '|' .. text .. '\n' .. of)
end
for i = 5, #ARGV, 2 do
  local task, mine = ARGV[i], ARGV[i + 1]
  local seen, by, text, of = definition_of(not expired[task] and redis.call('HGET', name, task))
  expired[task] = nil
  local same, newer = text == mine, not seen or number >= by
  if seen and not same then
    newer = newer or at - seen >= patience
    local n = #others
    others[n + 1], others[n + 2], others[n + 3], others[n + 4] = task, text, of, newer and '1' or ''
  end
  if not same and newer then
    changed = true
    put(task, at, number, mine, version)
  elseif same and number > by then
    put(task, at, number, mine, version)
  elseif seen > at or same and at - seen >= patience / 6 then -- a time that is ahead is not waited for
    put(task, at, by, text, of)
  end
end
for task in pairs(expired) do
  changed = true
  redis.call('HDEL', name, task)
end
if changed then change = int(at) .. ' ' .. int(number) end
if wrote then
  redis.call('HSET', name, '|', int(largest) .. '|' .. change)
  redis.call('PEXPIRE', name, int(keep))
end
return {'OK', int(number), others}
