-- edit: changes a task that does not run: its payload, queue, group or priority. It keeps its place
-- unless its line changes: then it goes to the end of the other one, with no regard to limits. A
-- task that changes its queue counts as deleted from the one and enqueued in the other.
-- KEYS 1 tasks
-- ARGV 1 id  2 queue, '' for the same  3 mark of the priority's line, '=' for the same  4 payload, or
--      '@' and a body (see bodies.lua); '' for the same  5 '/' and the group, '' for none, '=' for the same
-- Returns {'OK', 'edited' | 'active' | 'done' | 'gone' (not stored) | 'broken' (a key of its queue is something
--         else's)} | {'EXPIRED'} (the body is not there any more) | {'WRONGTYPE', key}
local id, at = ARGV[1], now()
local mistyped = mending_refuses()
if mistyped then return {'WRONGTYPE', mistyped} end
local body = string.match(ARGV[4], '^@(.*)$')
if not embodied({body = body}) then return {'EXPIRED'} end
local function refuse(word)
  if body then settle(body) end
  return {'OK', word}
end
local record = redis.call('HGET', key('tasks'), id)
if retained(record) or redis.call('ZSCORE', key('done'), id) then return refuse('done') end
local name, line, time, options, payload = string.match(record or '', '^([^|\n]*)|([^|\n]*)|([^|\n]*)|([^\n]*)\n(.*)$')
if not name then return refuse(record and 'broken' or 'gone') end

local old, queue = queue_of(line), ARGV[2] ~= '' and ARGV[2] or queue_of(line)
local party = string.find(line, '/', 1, true) and turns().party(line) or old
local mark = ARGV[3] ~= '=' and ARGV[3] or string.sub(line, #party + 1)
local other = queue .. (ARGV[5] ~= '=' and ARGV[5] or string.sub(party, #old + 1))
local edited = name .. '|' .. other .. mark .. '|' .. time .. '|' .. options .. '\n' .. (ARGV[4] ~= '' and ARGV[4] or payload)
if record_refuses(record) or record_refuses(edited) then return refuse('broken') end
for _, incarnation in ipairs(lives()) do
  if redis.call('HEXISTS', key('owned:' .. incarnation), id) == 1 then return refuse('active') end
end

writable(key('tasks'))
local ends = redis.call('ZSCORE', key('dead'), id) or redis.call('ZSCORE', key('cancelled'), id)
local due, blocked = redis.call('ZSCORE', key('delayed:' .. old), id), redis.call('HEXISTS', key('blocked'), id) == 1
local waits = not (ends or due or blocked) -- in a line, or parked
if not ends then weigh(old, id, -1) end
local moves = waits and other .. mark ~= line
local from = moves and take_line(id, line) or moves and queue ~= old and take_list(id, line, record)
if ARGV[4] ~= '' then
  disembody({id})
  if body then settle(body, id) end
end
redis.call('HSET', key('tasks'), id, edited)
if other ~= party and exists('holders') then turns().let_go(id) end
if other .. mark ~= line then forget(id, {'returned'}) end
if not ends then weigh(queue, id, 1) end
if queue ~= old then
  tally(old, 'deleted', 1)
  tally(queue, 'enqueued', 1)
  known(queue)
end
if due and queue ~= old then
  redis.call('ZREM', key('delayed:' .. old), id)
  delay(queue, tonumber(due), {id})
elseif from then
  place(id, other .. mark, {}, at)
end
if string.find(other, '/', 1, true) then turns().mark(queue) end -- it may be parked
note(id, at, 'edited', '{}')
flush()
return {'OK', 'edited'}
