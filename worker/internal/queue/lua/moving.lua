-- moving: moves of tasks that are stored: what their records say of where they go.

-- A record is name|line|enqueued|options\npayload. Nothing else of it is read here.
local function line_of(record)
  return record and string.match(record, '^[^|\n]*|([^|\n]*)|')
end

local function options_of(record)
  local text = string.match(record, '^[^|\n]*|[^|\n]*|[^|\n]*|([^\n]*)\n')
  if not text or text == '' then return {} end
  local ok, options = pcall(cjson.decode, text)
  if not ok or type(options) ~= 'table' then return {} end
  for _, name in ipairs({'d', 'T', 'w', 'W', 'v'}) do options[name] = tonumber(options[name]) end
  if type(options.u) ~= 'string' then options.u = nil end
  if type(options.f) ~= 'table' then options.f = nil end
  return options
end

-- The bytes of a stored task: those of its record, of its body, and of its steps.
local function size_of(id)
  local body = redis.call('HGET', key('bodies'), id)
  return redis.call('HSTRLEN', key('tasks'), id) + (body and select(2, body_of(body)) or 0) + counted('steps', id)
end

-- Counts the bytes of a task that enters its queue (1) or leaves it (-1),
-- where the queue has a bound on them. While the queue is weighed (see weigh.lua),
-- only those tasks count that are in the set weighed.
local function weigh(queue, id, sign)
  if settings(queue).bytes == 0 then return end
  if redis.call('HEXISTS', key('weighing'), queue) == 1 and
    redis.call(sign > 0 and 'SADD' or 'SREM', key('weighed:' .. queue), id) == 0 then return end
  count('bytes', queue, sign * size_of(id))
end

-- When a task with these options is due, or nil: now.
local function due_of(options, at)
  local due = options.W or (options.w and at + options.w)
  return due and due > at and due or nil
end

-- Puts a task that is in no place into its line, or off until it is due.
local function place(id, line, options, at)
  local queue = queue_of(line)
  local due = due_of(options, at)
  if not due and not takes(line) then due = at + 60000 end -- something else's: it may be mended by then
  if due then
    known(queue) -- it may have been deleted meanwhile
    delay(queue, due, {id})
  else
    if push(line, {id}) then touched[queue] = true end
  end
end

-- Adds a line to what is remembered of a task's past: time|event|JSON. The
-- oldest are forgotten.
local function note(id, at, event, detail)
  local past = (redis.call('HGET', key('history'), id) or '') .. int(at) .. '|' .. event .. '|' .. detail .. '\n'
  local _, lines = string.gsub(past, '\n', '')
  while lines > 20 or (lines > 1 and #past > 8192) do
    past, lines = string.gsub(past, '^[^\n]*\n', '', 1), lines - 1
  end
  redis.call('HSET', key('history'), id, past)
end
