-- stepping: reads and forgets what step.lua notes.

-- When a sleep is over, in ms, or nil for what is none.
local function sleep_of(meta) return string.match(meta or '', '|until|(%d+)$') end

-- The bytes of a step, or of a state, with its result.
local function bytes_of(field, meta) return #field + #meta + tonumber(string.match(meta, '^%d+|%d+|(%d+)$') or 0) end

-- Changes how many bytes the steps of a task have, and those of its queue with them.
local function outweigh(queue, id, more)
  redis.call('HSET', key('steps'), id, int(counted('steps', id) + more))
  if settings(queue).bytes == 0 then return end
  if redis.call('HEXISTS', key('weighing'), queue) == 0 or redis.call('SISMEMBER', key('weighed:' .. queue), id) == 1 then
    count('bytes', queue, more)
  end
end

-- The steps of a task: {field, place, meta} of each, also of its state.
local function steps_of(id)
  local all, words = {}, redis.call('HGETALL', key('steps:' .. id))
  for i = 1, #words, 2 do
    local place = string.match(words[i + 1], '^(%d+)|%d+|')
    if words[i] ~= '#' and place then all[#all + 1] = {field = words[i], place = tonumber(place), meta = words[i + 1]} end
  end
  return all
end

-- What happened when a step was noted, for the history.
local function note_step(id, step)
  local at, kind = string.match(step.meta, '^%d+|(%d+)|'), sleep_of(step.meta) and 'sleep' or 'step'
  if step.field == '=' then
    note(id, tonumber(at), 'checkpoint', '{}')
  else
    note(id, tonumber(at), kind, '{"step":' .. cjson.encode(string.sub(step.field, 2)) .. '}')
  end
end

-- Forgets the steps of a task from a place on, and a state that is not older. The last of them stay in its history.
local function forget_steps(queue, id, place)
  local less, left, steps = 0, 0, steps_of(id)
  table.sort(steps, function(a, b) return a.place < b.place or a.place == b.place and a.field < b.field end)
  for i, step in ipairs(steps) do
    if step.place >= place then
      if i > #steps - 8 then note_step(id, step) end
      less = less + bytes_of(step.field, step.meta)
      redis.call('HDEL', key('steps:' .. id), step.field)
      redis.call('HDEL', key('stepped:' .. id), step.field)
    else
      left = left + 1
    end
  end
  if less > 0 then outweigh(queue, id, -less) end
  if left == 0 then unstep({id}) end
end

-- The field of the last step, if that is a sleep that is not over at a time, and its meta.
local function asleep(id, at)
  local last
  for _, step in ipairs(exists('steps') and redis.call('HEXISTS', key('steps'), id) == 1 and steps_of(id) or {}) do
    if step.field ~= '=' and (not last or step.place > last.place) then last = step end
  end
  if last and tonumber(sleep_of(last.meta) or 0) > at then return last.field, last.meta end
end
