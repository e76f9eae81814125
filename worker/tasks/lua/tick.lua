-- Enqueues a tick of a periodic task, unless it or a later one was before. The
-- task's id is its name and the tick, so that it exists once.
-- KEYS 1 periodic  2 tasks  3 delayed  4 queues  5 done
-- ARGV 1 name  2 tick in ms  3 'first' to note now as the last tick, so that
--      only later ones are due; 'skip' to note the tick and enqueue nothing;
--      'run' to enqueue it  4 queue prefix  5 idle prefix  6 wake prefix
--      7 due channel  8 id  9 queue  10 head and 11 tail of the task's record
-- Returns {last tick, paused '1' or '', whether this call enqueued it, now} | {'WRONGTYPE', key}
local periodic, name, tick, verb = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3]
local K = {tasks = KEYS[2], delayed = KEYS[3], queues = KEYS[4], done = KEYS[5],
  queue = ARGV[4], idle = ARGV[5], wake = ARGV[6], due = ARGV[7]}

local kinds = {'hash', 'hash', 'zset', 'set', 'zset'}
for i, kind in ipairs(kinds) do
  if not fits(KEYS[i], kind) then return {'WRONGTYPE', KEYS[i]} end
end
if add_refuses(K, ARGV[9]) then return {'WRONGTYPE', K.queue .. ARGV[9]} end

local at = now()
local state = redis.call('HGET', periodic, name)
local last, paused = string.match(state or '', '^(%d+)|(1?)$')
local did = 0
if not last then
  last, paused = int(at), ''
  redis.call('HSET', periodic, name, last .. '|')
elseif verb ~= 'first' and tick > tonumber(last) and tick <= at then
  last = int(tick)
  redis.call('HSET', periodic, name, last .. '|' .. paused)
  if verb == 'run' and paused == '' then
    local touched = {}
    local taken = add(K, at, {queue = ARGV[9], chosen = true, when = '', head = ARGV[10], ids = {ARGV[8]}, tails = {ARGV[11]}}, touched)
    did = #taken == 0 and 1 or 0
    for queue in pairs(touched) do wake(K, queue) end
  end
end
return {last, paused, did, int(at)}
